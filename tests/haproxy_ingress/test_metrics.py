"""The samples that dashboards rely on, by their exact names."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from haproxy.model import Server, State
from haproxy.ops import AddServer, Batch, Cause, DelServer, Result, SetState
from haproxy_ingress.journal import Decision
from haproxy_ingress.metrics import Metrics

PREFIX = "haproxy_ingress_"


def samples(metrics: Metrics) -> dict[str, float]:
    """What is not zero, in the words of the text format."""
    lines = metrics.render().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix(PREFIX): float(value) for name, _, value in pairs if float(value)}


def used() -> Metrics:
    metrics = Metrics()
    metrics.build("0.1.0", "3.4.7")
    metrics.change("Ingress")
    metrics.change("Ingress")
    metrics.objects("Service", 4)
    metrics.quarantined(1)
    metrics.decided(Decision(1, 0.0, action="runtime", total_s=0.0004))
    metrics.reloaded(Cause.NEW_BACKEND, "ok", 0.06)
    server = Server("web-1", "10.0.0.1", 80)
    ops = AddServer("b", server), SetState("b", "web-1", State.DRAIN), DelServer("b", "web-1")
    metrics.ran(
        Batch(9, (Result(ops[0]), Result(ops[1]), Result(ops[2], "busy")), commands=4),
    )
    return metrics


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ('build_info{haproxy_version="3.4.7",version="0.1.0"}', 1),
        ('changes_total{kind="Ingress"}', 2),
        ('objects{kind="Service"}', 4),
        ("quarantined_objects", 1),
        ('decisions_total{action="runtime",result="ok"}', 1),
        ("last_apply_success", 1),
        ('propagation_seconds_bucket{action="runtime",le="0.0005"}', 1),
        ('propagation_seconds_bucket{action="runtime",le="+Inf"}', 1),
        ('propagation_seconds_count{action="runtime"}', 1),
        ('propagation_seconds_sum{action="runtime"}', 0.0004),
        ('reloads_total{reason="new-backend",result="ok"}', 1),
        ("reload_seconds_count", 1),
        ("reload_seconds_sum", 0.06),
        ('runtime_commands_total{command="add-server",result="done"}', 1),
        ('runtime_commands_total{command="set-state",result="done"}', 1),
        ('runtime_commands_total{command="del-server",result="busy"}', 1),
    ],
)
def test_a_sample(sample: str, value: float) -> None:
    assert samples(used())[sample] == value


def test_every_name_has_the_prefix_and_none_is_a_time_of_creation() -> None:
    text = used().render().decode()
    names = {name for f in text_string_to_metric_families(text) for name, *_ in f.samples}
    assert all(name.startswith(PREFIX) for name in names)
    assert not [name for name in names if name.endswith("_created")]


def test_reloads_of_every_reason_start_at_zero() -> None:
    text = Metrics().render().decode()
    assert len(re.findall(r"\nhaproxy_ingress_reloads_total\{.*\} 0\.0", text)) == 18


@pytest.mark.parametrize(
    ("decision", "applied", "propagated"),
    [
        (Decision(1, 0.0, action="runtime"), 1, True),
        (Decision(1, 0.0, action="reload"), 1, True),
        (Decision(1, 0.0, action="reload", result="quarantined"), 1, True),
        (Decision(1, 0.0, action="reload", result="failed"), 0, False),
        (Decision(1, 0.0, action="none"), 1, False),
    ],
)
def test_only_what_reached_haproxy_is_propagated(
    decision: Decision, applied: int, propagated: bool
) -> None:
    metrics = Metrics()
    metrics.decided(decision)
    found = samples(metrics)
    assert found.get("last_apply_success", 0) == applied
    assert (f'propagation_seconds_count{{action="{decision.action}"}}' in found) == propagated


def test_two_do_not_share_a_registry() -> None:
    used()
    assert 'changes_total{kind="Ingress"}' not in samples(Metrics())
