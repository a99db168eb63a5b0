"""One decision as the API and the log show it, and the journal that keeps the last of them."""

import json
from threading import Thread

import pytest
from attrs import evolve

from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.journal import Cause, Decision, Journal

SCALED = Decision(
    id=7,
    time_s=1_700_000_000.25,
    causes=(Cause(Ref("EndpointSlice", "default", "web-x"), "changed"),),
    action="runtime",
    reasons=("backend default_web_80: server web-3 added",),
    commands=3,
    queued_s=0.0002,
    plan_s=0.0003,
    apply_s=0.0013,
    total_s=0.0018,
)


def test_the_fields_are_those_of_the_contract() -> None:
    assert json.loads(json.dumps(SCALED.to_json())) == {
        "id": 7,
        "time": "2023-11-14T22:13:20.250Z",
        "causes": [
            {"kind": "EndpointSlice", "namespace": "default", "name": "web-x", "change": "changed"}
        ],
        "action": "runtime",
        "reasons": ["backend default_web_80: server web-3 added"],
        "commands": 3,
        "result": "ok",
        "error": "",
        "queued_s": 0.0002,
        "plan_s": 0.0003,
        "apply_s": 0.0013,
        "total_s": 0.0018,
    }


@pytest.mark.parametrize(
    ("decision", "line"),
    [
        pytest.param(
            SCALED,
            "decision 7: runtime ok; 3 commands in 1.8 ms (queued 0.2, plan 0.3, apply 1.3); "
            "cause: EndpointSlice default/web-x changed; "
            "reason: backend default_web_80: server web-3 added",
            id="runtime",
        ),
        pytest.param(
            Decision(8, 0.0, action="reload", result="failed", error="refused:\n  line 1\x1b[0m"),
            "decision 8: reload failed; 0 commands in 0.0 ms (queued 0.0, plan 0.0, apply 0.0); "
            "error: refused: line 1 [0m",
            id="failed",
        ),
        pytest.param(
            Decision(9, 0.0, commands=1, reasons=tuple("abcde")),
            "decision 9: none ok; 1 command in 0.0 ms (queued 0.0, plan 0.0, apply 0.0); "
            "reason: a, b, c and 2 more",
            id="many-reasons",
        ),
    ],
)
def test_a_decision_is_one_line(decision: Decision, line: str) -> None:
    assert decision.to_log_line() == line


def test_newest_first_and_bounded() -> None:
    journal = Journal(limit=2)
    for number in (1, 2, 3):
        journal.add(evolve(SCALED, id=number))
    assert [one.id for one in journal.decisions()] == [3, 2]


def test_it_can_be_read_while_it_is_written() -> None:
    journal = Journal(limit=50)

    def write() -> None:
        for number in range(5_000):
            journal.add(evolve(SCALED, id=number))

    writer = Thread(target=write)
    writer.start()
    while writer.is_alive():
        ids = [one.id for one in journal.decisions()]
        assert ids == sorted(ids, reverse=True)
    writer.join()
    assert len(journal.decisions()) == 50
