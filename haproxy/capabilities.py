"""What a HAProxy of a given version can do at runtime.

One table; the plan and the client both read it. The release lines that the tests run are 2.6,
3.0, 3.2 and 3.4; a line in between has what its documentation says.

Sources: management.txt of each line, and trying: every entry is asked of all four by the contract
tests, of those that have it and of those that have not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Self

from attrs import frozen

from haproxy.errors import InvalidValue, Unsupported

OLDEST = (2, 6)

_ARGUMENT = re.compile(r"\([0-9A-Za-z]{1,10}\)$")  # as in set-proxy-v2-tlv-fmt(0xE1)

Version = tuple[int, int]


@frozen
class Span:
    """The versions that have something: from `since` up to but without `before`."""

    since: Version = OLDEST
    before: Version | None = None

    def __contains__(self, version: object) -> bool:
        assert isinstance(version, tuple)
        return self.since <= version and (self.before is None or version < self.before)

    def __str__(self) -> str:
        since = "{}.{}".format(*self.since)
        return since if self.before is None else since + " up to before {}.{}".format(*self.before)


class Feature(Enum):
    """What not every version has: how it is called, and which versions have it."""

    RELOAD_VERDICT = "reload with a verdict", Span((2, 7))
    MASTER_STARTUP_LOGS = "show startup-logs of the master", Span((2, 7))
    ADD_CA_FILE = "add ssl ca-file", Span((2, 7))
    END_PATTERN = "a payload that ends by a pattern", Span((2, 9))
    HARD_RELOAD = "hard-reload", Span((2, 9))
    WAIT = "wait", Span((3, 0))
    ECHO = "echo", Span((3, 1))
    SERVED_NAMES = "show ssl sni", Span((3, 2))
    CHECK_ADDRESS = "set server check-addr", Span(OLDEST, (3, 4))  # refuses every address since
    LARGE_PAYLOAD = "a payload over 16 kB", Span((3, 4))
    DYNAMIC_BACKENDS = "add backend", Span((3, 4))
    WAIT_FOR_BACKEND = "wait be-removable", Span((3, 4))

    def __init__(self, what: str, span: Span) -> None:
        self.what = what
        self.span = span


@frozen
class Limits:
    """How long one command may be, newlines included; `tune.bufsize` is taken to be its default.

    line_bytes: without payload. payload_bytes: with it. end_pattern: whether a payload may hold
    empty lines, for it can be made to end otherwise.
    """

    line_bytes: int = 15_360
    payload_bytes: int = 15_360
    end_pattern: bool = False


# All take 16383 bytes, tried to the byte, but nobody should stand at that edge: of 16384, a payload
# ends 2.6.12 with SIGSEGV, and a line makes 3.4.0 talk for ever. 3.4.7 takes payloads of 65499
# bytes and some that are longer; of 66 to 80 kB it never sees the end.
_BUFFER_BYTES = 16_000
_LARGE_BYTES = 65_000


@frozen
class Keyword:
    """One keyword of ``add server``. valued: a value follows it."""

    span: Span
    valued: bool = False


def _keywords(span: Span, flags: str, valued: str) -> Mapping[str, Keyword]:
    names = [(name, False) for name in flags.split()] + [(name, True) for name in valued.split()]
    return {name: Keyword(span, takes) for name, takes in names}


# `id` and `weight` are arguments of their own; `enabled` of 2.6 makes a server UP unchecked.
SERVER_KEYWORDS: Mapping[str, Keyword] = {
    **_keywords(
        Span(),
        "allow-0rtt backup no-backup check check-send-proxy check-ssl agent-check disabled "
        "force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 no-ssl-reuse no-sslv3 "
        "no-tls-tickets no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 tls-tickets send-proxy "
        "no-send-proxy send-proxy-v2 no-send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn ssl "
        "tfo no-tfo check-via-socks4",
        "addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn check-proto "
        "check-sni ciphers ciphersuites crl-file crt downinter error-limit fall fastinter inter "
        "maxconn maxqueue minconn npn observe on-error on-marked-down on-marked-up pool-low-conn "
        "pool-max-conn pool-purge-delay port proto proxy-v2-options rise slowstart sni source "
        "ssl-max-ver ssl-min-ver track verify verifyhost ws",
    ),
    **_keywords(Span((2, 8)), "", "shard"),
    **_keywords(
        Span((3, 0)),
        "",
        "client-sigalgs cookie curves guid hash-key pool-conn-name set-proxy-v2-tlv-fmt sigalgs",
    ),
    **_keywords(
        Span((3, 2)),
        "check-reuse-pool strict-maxconn",
        "check-pool-conn-name idle-ping init-state",
    ),
    **_keywords(
        Span((3, 4)),
        "no-check-sni-auto no-renegotiate no-sni-auto renegotiate",
        "healthcheck ktls",
    ),
}


@frozen
class Capabilities:
    """What one HAProxy can do.

    version: (major, minor).
    reload_verdict: the master's ``reload`` answers when done, with Success=0 or 1 (2.7).
    dynamic_backends: ``add backend NAME from PROFILE`` (3.4).
    """

    version: Version

    @classmethod
    def of(cls, version: str) -> Self:
        """From a version text such as ``2.6.12-1+deb12u4`` or ``3.4``.

        Raises `InvalidValue` when it is no version, or one older than 2.6.
        """
        match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", version)
        if not match or (number := (int(match[1]), int(match[2]))) < OLDEST:
            raise InvalidValue("HAProxy version", version, "2.6 and later")
        return cls(number)

    def has(self, feature: Feature) -> bool:
        return self.version in feature.span

    def require(self, feature: Feature) -> None:
        """Raises `Unsupported`, which names the versions that have *feature*."""
        self._require(feature.what, feature.span)

    def require_keyword(self, name: str) -> Keyword:
        """The keyword *name* of ``add server``.

        Raises `InvalidValue` when no version takes it, `Unsupported` when this one does not.
        """
        keyword = SERVER_KEYWORDS.get(_ARGUMENT.sub("", name))
        if keyword is None:
            raise InvalidValue("keyword of a server", name, "those that `add server` takes")
        self._require(f"the keyword {name} of add server", keyword.span)
        return keyword

    @property
    def limits(self) -> Limits:
        large = self.has(Feature.LARGE_PAYLOAD)
        payload_bytes = _LARGE_BYTES if large else _BUFFER_BYTES
        return Limits(_BUFFER_BYTES, payload_bytes, self.has(Feature.END_PATTERN))

    @property
    def reload_verdict(self) -> bool:
        return self.has(Feature.RELOAD_VERDICT)

    @property
    def dynamic_backends(self) -> bool:
        return self.has(Feature.DYNAMIC_BACKENDS)

    def __str__(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"

    def _require(self, what: str, span: Span) -> None:
        if self.version not in span:
            raise Unsupported(what, str(self), str(span))
