"""What a line of the log looks like, whatever is in it."""

import json
import logging
import sys
from typing import Any

import pytest

from haproxy_ingress.diagnostics import Diagnostic, Ref, Why
from haproxy_ingress.journal import Decision
from haproxy_ingress.logs import JsonLines, TextLines, decided, found, haproxy_said

WHEN = {"created": 1_700_000_000.25}


def record(message: str, **more: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {**WHEN, "msg": message, "levelname": "INFO", "name": "haproxy", **more}
    )


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("ready", "2023-11-14T22:13:20.250Z info ready"),
        ("a\nb\x1b[31m\u2028c", "2023-11-14T22:13:20.250Z info a b [31m c"),
    ],
)
def test_text(message: str, line: str) -> None:
    assert TextLines().format(record(message)) == line


def test_json() -> None:
    line = JsonLines().format(record("a\nb"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "haproxy",
        "message": "a\nb",
    }


def test_json_of_an_exception_is_one_line() -> None:
    try:
        raise KeyError("x")
    except KeyError:
        line = JsonLines().format(record("failed", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("KeyError: 'x'")


@pytest.mark.parametrize(("result", "level"), [("ok", "INFO"), ("failed", "WARNING")])
def test_a_decision(result: Any, level: str, caplog: pytest.LogCaptureFixture) -> None:
    decision = Decision(1, 0.0, result=result)
    with caplog.at_level("INFO", "haproxy_ingress"):
        decided(decision)
    (said,) = caplog.records
    assert said.levelname == level
    assert said.getMessage() == decision.to_log_line()
    assert json.loads(JsonLines().format(said))["decision"] == decision.to_json()


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("[ALERT]    (7) : parsing [haproxy.cfg:3]", "WARNING"),
        ("[WARNING]  (7) : Server default_web_80/a is DOWN", "INFO"),
        ("[WARNING]  (7) : Proxy default_web_80 stopped (cumulated conns: FE: 0, BE: 1).", "DEBUG"),
        ("[NOTICE]   (7) : New worker (8) forked", "DEBUG"),
        ("", "DEBUG"),
    ],
)
def test_what_haproxy_prints(line: str, level: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "haproxy"):
        haproxy_said(line)
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [(level, line)]


def test_a_finding(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "haproxy_ingress"):
        found(Diagnostic(Ref("Ingress", "a", "b"), Why.INVALID, "spec", "wrong"))
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    assert "Ingress a/b: spec: wrong" in caplog.text
