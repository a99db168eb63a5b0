"""What the daemon says on stderr: one line a message, for people or as JSON."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from haproxy_ingress.diagnostics import Diagnostic, Level
from haproxy_ingress.journal import Decision

_LOG = logging.getLogger("haproxy_ingress")
_HAPROXY = logging.getLogger("haproxy")
_LEVELS = {"[ALERT]": logging.WARNING, "[EMERG]": logging.WARNING, "[WARNING]": logging.INFO}
_OURS = ("haproxy", "haproxy_ingress")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def set_up(level: str, form: str) -> None:
    """Send messages of *level* and above to stderr; *form* is ``text`` or ``json``.

    Of other packages only warnings: what they find worth saying, few understand.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())


def decided(decision: Decision) -> None:
    """Log a decision; as JSON with all its fields."""
    level = logging.INFO if decision.result == "ok" else logging.WARNING
    _LOG.log(level, "%s", decision.to_log_line(), extra={"decision": decision})


def haproxy_said(line: str) -> None:
    """Log a line that HAProxy printed.

    Every proxy that an old worker gives up is a warning to HAProxy, thousands of them a reload.
    """
    stopped = line.startswith("[WARNING]") and " stopped (" in line
    level = next((level for mark, level in _LEVELS.items() if line.startswith(mark)), logging.DEBUG)
    _HAPROXY.log(logging.DEBUG if stopped else level, "%s", line)


def found(diagnostic: Diagnostic) -> None:
    """Log what is wrong with an object."""
    level = logging.ERROR if diagnostic.level is Level.ERROR else logging.WARNING
    _LOG.log(level, "%s", diagnostic)


class TextLines(logging.Formatter):
    """``2024-01-31T12:00:00.000Z info message``."""

    def format(self, record: logging.LogRecord) -> str:
        line = (
            f"{_time(record)} {record.levelname.lower()} {_CONTROL.sub(' ', record.getMessage())}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """An object a line: time, level, logger, message; decision or exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        decision = getattr(record, "decision", None)
        if isinstance(decision, Decision):
            said["decision"] = decision.to_json()
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said)


def _time(record: logging.LogRecord) -> str:
    text = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
