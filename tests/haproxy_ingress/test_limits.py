"""Everything that comes from an object is bounded, and docs/limits.md says by what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from haproxy_ingress.controller import MAX_SAID_A_ROUND, MAX_SHOWN, Controller
from haproxy_ingress.diagnostics import MAX_PER_OBJECT, Diagnostic
from haproxy_ingress.parsing import parse
from haproxy_ingress.pipeline import Pipeline
from haproxy_ingress.reader import MAX_ANNOTATION_BYTES, MAX_PROBLEMS
from haproxy_ingress.resources import ServiceTarget
from haproxy_ingress.sources import Change
from haproxy_ingress.sources.catalogue import content
from haproxy_ingress.sources.memory import MemorySource
from haproxy_ingress.translate import Settings
from tests.haproxy_ingress.objects import ingress, path, put, rule
from tests.haproxy_ingress.rig import V2_6, GatedHAProxy

ROOT = Path(__file__).parents[2]
TABLE = re.findall(r"\| (\d+)[^|]*\| `([\w.]+)\.(\w+)` \|", (ROOT / "docs/limits.md").read_text())
NAMED = re.compile(r"^(MAX_[A-Z_]+)(?:: \w+)? = ", re.MULTILINE)
INPUT = (
    *("reader", "kinds", "parsing", "naming", "routing", "certificates", "diagnostics"),
    *("sources.documents", "sources.building", "controller"),
)
# How much of a value is quoted is one limit, whoever quotes it; and two say what others say.
QUOTED = {"MAX_SHOWN", "MAX_SAID", "MAX_NAME", "MAX_FILE_NAME"}
NONE = ServiceTarget("none", 80)


@pytest.mark.parametrize(("number", "module", "name"), TABLE)
def test_the_table_says_what_the_code_says(number: str, module: str, name: str) -> None:
    assert getattr(import_module(module), name) == int(number)


def test_no_limit_is_missing_from_the_table() -> None:
    listed = {(module, name) for _, module, name in TABLE}
    for short in INPUT:
        module = f"haproxy_ingress.{short}"
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        names = set(NAMED.findall(source))
        names -= QUOTED if short != "controller" else set()
        assert {(module, name) for name in names} <= listed


def broken(count: int) -> Any:
    """An Ingress of so many paths to a Service that is not there."""
    return ingress("shop", rule("a.test", *(path(f"/{number}", NONE) for number in range(count))))


@pytest.mark.parametrize("count", [MAX_PER_OBJECT, MAX_PER_OBJECT + 1, 500])
def test_findings_about_one_ingress(count: int) -> None:
    pipeline = Pipeline(Settings())
    pipeline.update(put(broken(count)))
    found = tuple(pipeline.diagnostics())
    assert pipeline.news() == found
    more = count - MAX_PER_OBJECT
    assert len(found) == MAX_PER_OBJECT + bool(more)
    assert not more or found[-1].message == f"and {more} more findings"


def test_findings_about_one_file() -> None:
    found = content("x.yaml", ["no object"] * 10_000).diagnostics
    assert len(found) == MAX_PER_OBJECT + 1
    assert str(found[-1]) == "File x.yaml: and 9980 more findings"


def test_findings_in_reading_one_object() -> None:
    metadata = {"name": "a", "annotations": dict.fromkeys(map(str, range(10_000)), 1)}
    _, resource, found = parse(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}}
    )
    assert resource is None
    assert len(found) == MAX_PROBLEMS


def test_annotations_together() -> None:
    half = "x" * (MAX_ANNOTATION_BYTES // 2)
    metadata = {"name": "a", "annotations": {"a": half, "b": half + "x"}}
    _, resource, (found,) = parse(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}}
    )
    assert resource is None
    assert str(found) == (
        f"Service default/a: metadata.annotations: is too large; "
        f"allowed: at most {MAX_ANNOTATION_BYTES} bytes together"
    )


def test_what_the_log_and_the_status_are_told() -> None:
    told: list[Diagnostic] = []
    fake = GatedHAProxy()
    controller = Controller(
        MemorySource(), Settings(), fake, fake, fake, V2_6, on_diagnostic=told.append
    )
    many = [
        ingress(f"i{number}", rule(f"h{number}.test", path("/", NONE))) for number in range(1100)
    ]
    controller._learn(put(*many))
    controller._tell(controller._pipeline.news())
    assert len(told) == MAX_SAID_A_ROUND + 1
    assert str(told[-1]) == "other objects: 1000 more findings, which /api/v1/status lists"
    status = controller._status()
    assert len(status["diagnostics"]) == MAX_SHOWN
    assert status["diagnostics_left_out"] == 100
    controller._driver.loader.close()


def test_the_same_finding_again_is_no_news() -> None:
    """Whoever delivers an object again, and with whatever else wrong."""
    pipeline = Pipeline(Settings())
    metadata = {"name": "a"}
    first = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": 1}}
    source = MemorySource()

    def deliver(changes: Sequence[Change]) -> None:
        pipeline.update(changes)

    source.start(deliver, lambda: None)
    source.put(first)
    assert [one.field for one in pipeline.news()] == ["spec.clusterIP"]
    source.put(first)
    assert not pipeline.news()
    source.put({**first, "spec": {"clusterIP": 1, "externalName": 1}})
    assert [one.field for one in pipeline.news()] == ["spec.externalName"]
    source.put({**first, "spec": {}})
    source.put(first)
    assert [one.field for one in pipeline.news()] == ["spec.clusterIP"]
