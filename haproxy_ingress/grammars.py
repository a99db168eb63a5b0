"""What a setting may look like: each `Grammar` reads one kind of text and says what it allows.

The same grammars serve annotations, flags and the environment, so that one kind of value has one
spelling everywhere. Patterns are matched whole and none of them can backtrack for long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Generic, TypeVar

from attrs import define, field, frozen

from haproxy.units import MAX_MS, milliseconds, time

T = TypeVar("T")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INT = re.compile(r"-?[0-9]{1,18}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_URL_PATH = re.compile(r"/[!-~]*")
_SHOWN = 80
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


@define(eq=False)
class GrammarError(ValueError):
    """A text that a grammar does not allow.

    allowed: what it would have accepted.
    """

    value: str
    allowed: str

    @property
    def message(self) -> str:
        """What is wrong, with the value in quotes, cut when it is long."""
        cut = self.value if len(self.value) <= _SHOWN else self.value[: _SHOWN - 3] + "..."
        return f"{cut!r} is not allowed"

    def __str__(self) -> str:
        return f"{self.message}; allowed: {self.allowed}"


@frozen
class Grammar(Generic[T]):
    """One kind of value.

    allowed: what is accepted, in words for the person who writes it.
    convert: text without control characters -> value; raises ValueError.
    metavar: what stands for the value in a synopsis.
    """

    allowed: str
    convert: Callable[[str], T] = field(repr=False)
    metavar: str = "TEXT"

    def parse(self, text: str) -> T:
        """The value of *text*. Raises `GrammarError` when it is not allowed."""
        try:
            if _CONTROL.search(text):
                raise ValueError("control character")
            return self.convert(text)
        except GrammarError:
            raise  # the item that is wrong says more than the list that holds it
        except ValueError:
            raise GrammarError(text, self.allowed) from None


@frozen
class Repeated(Grammar[tuple[T, ...]]):
    """Several values of one grammar: separated by commas, or given one by one."""

    item: Grammar[T] = field(kw_only=True)

    def parse_each(self, texts: Sequence[str]) -> tuple[T, ...]:
        """The values of *texts*, none of them split. Raises `GrammarError` for a bad one."""
        return tuple(map(self.item.parse, texts))


def _bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(text)


def _whole(text: str) -> int:
    if not _INT.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _within(value: int, lo: int, hi: int) -> int:
    if not lo <= value <= hi:
        raise ValueError(value)
    return value


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError(text)
    return text


def _subdomain(text: str) -> str:
    if len(text) > 253:
        raise ValueError(text)
    return ".".join(map(_label, text.split(".")))


def _namespaced(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    return _label(namespace), _subdomain(name)


def _namespaced_port(text: str) -> tuple[str, str, str]:
    target, colon, port = text.partition(":")
    return (*_namespaced(target), _port_or_name(port) if colon else "")


def _port_or_name(text: str) -> str:
    return str(_port(text)) if text.isdecimal() else _label(text)


def _domain_path(text: str) -> str:
    domain, slash, path = text.partition("/")
    if not (slash and _URL_PATH.fullmatch(slash + path) and path and len(text) <= 250):
        raise ValueError(text)
    return f"{_subdomain(domain)}/{path}"


def _address(text: str) -> str:
    if "%" in text:  # a scoped address means something on one machine only
        raise ValueError(text)
    return str(ip_address(text))


def _cidr(text: str) -> str:
    if "%" in text:
        raise ValueError(text)
    return str(ip_network(text))


def _bind_address(text: str) -> str:
    return text if text == "*" else _address(text)


def _port(text: str) -> int:
    return _within(_whole(text), 1, 65535)


def _address_port(text: str) -> str:
    address, _, port = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = f"[{_address(address[1:-1])}]"
    elif ":" in address:
        raise ValueError(text)
    else:
        address = _address(address)
    return f"{address}:{_port(port)}"


def _path(text: str) -> Path:
    if not text:
        raise ValueError(text)
    return Path(text)


def _url_path(text: str) -> str:
    if not _URL_PATH.fullmatch(text):
        raise ValueError(text)
    return text


def INT(lo: int, hi: int) -> Grammar[int]:  # noqa: N802 - reads like the constants beside it
    """A whole number from *lo* to *hi*, both included."""
    return Grammar(f"a whole number, {lo} to {hi}", lambda text: _within(_whole(text), lo, hi), "N")


def DURATION(lo_ms: int, hi_ms: int) -> Grammar[int]:  # noqa: N802
    """A time from *lo_ms* to *hi_ms*, read as milliseconds."""
    return Grammar(
        f"a time such as 500ms, 30s, 5m or 1h, {time(lo_ms)} to {time(hi_ms)}",
        lambda text: _within(milliseconds(text), lo_ms, hi_ms),
        "DURATION",
    )


def CHOICE(*choices: str) -> Grammar[str]:  # noqa: N802
    """One of *choices*, spelled exactly so."""

    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    return Grammar("one of " + ", ".join(choices), convert)


def MANY(item: Grammar[T]) -> Repeated[T]:  # noqa: N802
    """Any number of *item*, separated by commas; nothing is none of them."""

    def convert(text: str) -> tuple[T, ...]:
        return tuple(item.parse(part.strip()) for part in text.split(",")) if text else ()

    return Repeated(
        f"{item.allowed}; several separated by commas", convert, item.metavar, item=item
    )


def OPTIONAL(item: Grammar[T]) -> Grammar[T | None]:  # noqa: N802
    """As *item*; nothing is None."""
    return Grammar(item.allowed, lambda text: item.convert(text) if text else None, item.metavar)


BOOL = Grammar("one of " + ", ".join(_TRUE + _FALSE), _bool, "BOOL")
DURATION_MS = Grammar(
    "a time such as 500ms, 30s, 5m or 1h, at most 24d",
    lambda text: _within(milliseconds(text), 0, MAX_MS),
    "DURATION",
)
NAME = Grammar("a DNS label: 1 to 63 of a-z 0-9 -, no - at its ends", _label, "NAME")
OBJECT_NAME = Grammar("DNS labels joined by dots, at most 253 characters", _subdomain, "NAME")
NAMESPACED = Grammar("NAMESPACE/NAME", _namespaced, "NS/NAME")
NAMESPACED_PORT = Grammar(
    "NAMESPACE/NAME or NAMESPACE/NAME:PORT, where PORT is a number or a name",
    _namespaced_port,
    "NS/NAME[:PORT]",
)
DOMAIN_PATH = Grammar(
    "a path with a domain before it, such as example.com/controller, at most 250 characters",
    _domain_path,
    "NAME",
)
ADDRESS = Grammar("an IPv4 or IPv6 address", _address, "ADDRESS")
CIDR = Grammar(
    "a network such as 10.0.0.0/8 or 2001:db8::/32, no bits set after its prefix, or an address",
    _cidr,
    "CIDR",
)
BIND_ADDRESS = Grammar("* (any) or an IPv4 or IPv6 address", _bind_address, "ADDRESS")
PORT = Grammar("a port, 1 to 65535", _port, "PORT")
ADDRESS_PORT = Grammar(
    "ADDRESS:PORT, such as 10.0.0.1:53 or [2001:db8::1]:53", _address_port, "ADDRESS:PORT"
)
PATH = Grammar("the path of a file or folder", _path, "PATH")
URL_PATH = Grammar("a path that starts with /, of visible ASCII characters", _url_path, "PATH")
TEXT = Grammar("text without control characters", str)
