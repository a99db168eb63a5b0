"""What a HAProxy is made of: frozen values, no behaviour.

Three kinds of fact, after how they are changed: structure (`Global`, `Resolvers`, `Frontend`,
`Profile`) by a reload; data (`Map`) and members (`Server`, on HAProxy 3.4 also `Backend`) through
the Runtime API. Mappings are never changed in place: a new value is a new mapping, so that what is
unchanged stays the same object and comparing it costs nothing.

An `origin` is whatever made a thing (for the ingress packages a reference to a Kubernetes
object). It takes no part in comparisons: it only answers "who asked for this line".
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Hashable, Mapping
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Self

from attrs import Attribute, astuple, field, frozen
from attrs.validators import ge, le, min_len

from haproxy.errors import InvalidValue
from haproxy.units import MAX_MS

Origin = Hashable

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_./-]{0,254}")
_PEM = re.compile("-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\\s]+)-----END CERTIFICATE-----")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and surrogates: no file can hold them
MAX_WORDS = 64  # a longer line is fatal for the whole configuration
ID_SPACE = 2**20  # the hash ring uses only the low 20 bits of a server's id
_TIME = (ge(1), le(MAX_MS))  # in milliseconds


def _name(_: object, attribute: Attribute[str], value: str) -> None:
    if not _NAME.fullmatch(value):
        raise InvalidValue(attribute.name, value, "1 to 255 of A-Z a-z 0-9 _ . : -")


def _bind_address(instance: object, attribute: Attribute[str], value: str) -> None:
    if value != "*":
        _name(instance, attribute, value)


def _file(_: object, attribute: Attribute[str], value: str) -> None:
    if not _FILE.fullmatch(value):
        raise InvalidValue(attribute.name, value, "a relative path of A-Z a-z 0-9 _ . / -")


def _canonical(address: str) -> str:
    """The one way of writing an address, which is how HAProxy shows it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        raise InvalidValue("address", address, "an IPv4 or IPv6 address") from None
    return str(parsed)


def _no_control(_: object, attribute: Attribute[Any], value: object) -> None:
    for text in value if isinstance(value, tuple) else (value,):
        if _CONTROL.search(str(text)):
            raise InvalidValue(attribute.name, str(text), "text without control characters")


def _few_words(
    instance: object, attribute: Attribute[tuple[str, ...]], value: tuple[str, ...]
) -> None:
    if not 0 < len(value) <= MAX_WORDS:
        raise InvalidValue(attribute.name, " ".join(value), f"1 to {MAX_WORDS} words")
    _no_gap(instance, attribute, value)


def _no_gap(_: object, attribute: Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    # HAProxy takes an empty word for the end of the line: a condition after it would be ignored.
    if "" in value:
        raise InvalidValue(attribute.name, " ".join(value), "words that are not empty")


class State(StrEnum):
    """Whether a server gets requests: all, only those bound to it, none."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@frozen
class Server:
    """An address that requests may be sent to.

    name: unique in its backend and stable while it runs; the Runtime API's key.
    id: 1..2**31-1, unique in its backend, never given to another address while it runs; 0 means
    not assigned yet. Those that `plan` assigns are below 2**20.
    address, port: where to connect; an IP literal, never a name.
    weight: share of the backend's traffic, 0..256, where 0 means no new requests.
    """

    name: str = field(validator=_name)
    address: str = field(converter=_canonical, validator=_name)
    port: int = field(validator=[ge(1), le(65535)])
    weight: int = field(default=1, validator=[ge(0), le(256)])
    state: State = State.READY
    id: int = field(default=0, validator=[ge(0), le(2**31 - 1)])


@frozen
class Line:
    """One line of configuration as words; `render` quotes each of them."""

    words: tuple[str, ...] = field(validator=[_no_control, _few_words])


def lines(text: str) -> tuple[Line, ...]:
    """Fixed configuration text of ours as `Line`s: one a line, words split as a shell does.

    For constants only: a value that comes from a user belongs into a word of its own.
    """
    return tuple(Line(tuple(shlex.split(row))) for row in text.strip().splitlines() if row.strip())


@frozen
class Profile:
    """How a group of backends behaves; a named ``defaults`` section.

    All times in milliseconds. rules: ``http-request`` and similar lines, in their order.
    """

    balance: str = field(default="roundrobin", validator=[_no_control, min_len(1)])
    connect_timeout_ms: int = field(default=5_000, validator=_TIME)
    server_timeout_ms: int = field(default=60_000, validator=_TIME)
    tunnel_timeout_ms: int = field(default=3_600_000, validator=_TIME)
    queue_timeout_ms: int = field(default=5_000, validator=_TIME)
    retries: int = field(default=2, validator=[ge(0), le(100)])
    retry_on: tuple[str, ...] = field(
        default=("conn-failure", "empty-response", "response-timeout"),
        validator=[_no_control, _few_words],
    )
    rules: tuple[Line, ...] = ()

    @cached_property
    def name(self) -> str:
        """``p-`` and a hash of the content: equal profiles have equal names, everywhere."""
        return "p-" + hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:10]


@frozen
class Backend:
    """Servers that share a profile.

    profile: the name of the profile it takes its behaviour from.
    servers: by name. lines: what no profile may carry or what is fixed by us.
    server_options: words that each of its servers has, such as ``proto h2``.
    """

    name: str = field(validator=_name)
    profile: str = field(validator=_name)
    servers: Mapping[str, Server] = field(factory=dict)
    lines: tuple[Line, ...] = ()
    server_options: tuple[str, ...] = field(default=(), validator=[_no_control, _no_gap])
    origins: tuple[Origin, ...] = field(default=(), eq=False)


@frozen
class Row:
    """The value of one map row, and who asked for it.

    needs: backends without which it must not come into force, such as the one it names.
    """

    value: str = field(validator=_no_control)
    origin: Origin = field(default=None, eq=False)
    needs: tuple[str, ...] = field(default=(), eq=False)


@frozen
class Map:
    """A map file.

    name: its path relative to the configuration, which is also the Runtime API's key.
    rows: by key; a key holds neither white space nor control characters.
    ordered: the order of the rows counts (regular expressions), so it only changes as a whole.
    """

    name: str = field(validator=_file)
    rows: Mapping[str, Row] = field(factory=dict)
    ordered: bool = False


@frozen
class Certificate:
    """A certificate with its chain and its private key.

    name: path of its file relative to the configuration, which is also the Runtime API's key.
    pem: as HAProxy loads it, without empty lines; empty for one that was only seen running.
    fingerprint: SHA-1 of the certificate itself, in upper case hexadecimal, as HAProxy shows it.
    """

    name: str = field(validator=_no_control)
    pem: str = field(repr=False)
    fingerprint: str = field(validator=_no_control)
    origin: Origin = field(default=None, eq=False)

    @classmethod
    def of(cls, name: str, pem: str, origin: Origin = None) -> Self:
        """From PEM text whose first certificate is the one that is served.

        Raises `InvalidValue` when there is none.
        """
        match = _PEM.search(pem)
        if match is None:
            raise InvalidValue("certificate", name, "PEM with a certificate")
        der = base64.b64decode(match[1])
        return cls(name, pem, hashlib.sha1(der, usedforsecurity=False).hexdigest().upper(), origin)


@frozen
class Served:
    """A line of a crt-list: a certificate, and the server name (SNI) it is for."""

    certificate: str = field(validator=_no_control)
    sni: str = field(validator=_no_control)
    origin: Origin = field(default=None, eq=False)

    @property
    def key(self) -> str:
        """The line as the file has it."""
        return f"{self.certificate} {self.sni}"


@frozen
class CrtList:
    """A crt-list file.

    name: its path relative to the configuration, which is also the Runtime API's key.
    default: the certificate for any other server name; its first line.
    served: the other lines, by their keys.
    """

    name: str = field(validator=_no_control)
    default: str = field(validator=_no_control)
    served: Mapping[str, Served] = field(factory=dict)


@frozen
class Bind:
    """An address that a frontend listens on. address: ``*`` is any IPv4, ``::`` any IPv6."""

    address: str = field(validator=_bind_address)
    port: int = field(validator=[ge(1), le(65535)])
    options: tuple[str, ...] = field(default=(), validator=[_no_control, _no_gap])


@frozen
class Frontend:
    """Listeners and the fixed chain of rules behind them. All times in milliseconds."""

    name: str = field(validator=_name)
    binds: tuple[Bind, ...]
    rules: tuple[Line, ...] = ()
    default_backend: str = field(default="", validator=_no_control)
    client_timeout_ms: int = field(default=60_000, validator=_TIME)
    http_request_timeout_ms: int = field(default=60_000, validator=_TIME)
    keep_alive_timeout_ms: int = field(default=75_000, validator=_TIME)


@frozen
class Resolvers:
    """Name servers for what HAProxy resolves itself.

    nameservers: ``ADDRESS:PORT``; when empty, those of /etc/resolv.conf.
    """

    name: str = field(validator=_name)
    nameservers: tuple[str, ...] = field(default=(), validator=[_no_control, _no_gap])


@frozen
class Global:
    """The process. Zero or empty means HAProxy's own default.

    runtime_socket: path of the Runtime API's socket. hard_stop_after_ms: how long an old worker
    may finish what it has. max_reloads: how many old workers may live at a time.
    maxconn: connections a worker takes; fd_limit: file descriptors it may ask for.
    experimental: rules that HAProxy calls experimental, such as ``normalize-uri``, are used.
    """

    runtime_socket: str = field(default="", validator=_no_control)
    maxconn: int = field(default=0, validator=ge(0))
    fd_limit: int = field(default=0, validator=ge(0))
    threads: int = field(default=0, validator=[ge(0), le(64)])
    experimental: bool = False
    hard_stop_after_ms: int = field(default=30_000, validator=_TIME)
    max_reloads: int = field(default=4, validator=ge(1))


@frozen
class Config:
    """A whole HAProxy, as it runs or as it should.

    Mappings are keyed by names. Maps come in the order in which a request
    must find them complete: rows enter in that order and leave in the reverse one.
    """

    process: Global = Global()
    resolvers: tuple[Resolvers, ...] = ()
    profiles: Mapping[str, Profile] = field(factory=dict)
    frontends: tuple[Frontend, ...] = ()
    backends: Mapping[str, Backend] = field(factory=dict)
    maps: Mapping[str, Map] = field(factory=dict)
    certificates: Mapping[str, Certificate] = field(factory=dict)
    crt_lists: Mapping[str, CrtList] = field(factory=dict)
