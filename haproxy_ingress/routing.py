"""How a host and a path become a map row, and the fixed rules that look it up.

Keys of the routes map are host, path and ``/`` for Prefix, host, path and ``/#`` for Exact. A
request asks for the longest row that its own host, path and ``/#`` begin with, so one look-up in a
tree finds Exact before the longest Prefix, by path element (a request's path has no ``#``). The
host is the exact one, else its wildcard, else empty.
"""

from __future__ import annotations

import re
import string
from enum import IntEnum

from haproxy.model import Line, lines

HOSTS = "maps/hosts.map"
ROUTES = "maps/routes.map"
REGEX = "maps/regex.map"
EXTERNAL = "maps/external.map"

ANY_HOST = "*"  # the hosts row that says whether rules without a host have regular expressions
PLAIN_FLAG, REGEX_FLAG, TLS_FLAG = "-", "r", "t"  # of a hosts row, together

ACME = "/.well-known/acme-challenge/"
MAX_PATH = 2_048
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL}){{0,126}}")
_UNRESERVED = frozenset((string.ascii_letters + string.digits + "-._~").encode())
# What browsers and HTTP libraries percent-encode in a path; the rest they send as it is.
_ENCODED = frozenset(b' "#<>?`{}%') | frozenset(range(0x21)) | frozenset(range(0x7F, 0x100))


class Kind(IntEnum):
    """What a row matches by.

    DEFAULT is a host's default backend, which yields to any path; LAST that of the daemon, which
    yields to all.
    """

    EXACT = 0
    REGEX = 1
    PREFIX = 2
    DEFAULT = 3
    LAST = 4


def valid_host(host: str) -> bool:
    """Whether *host*, in lower case, is a DNS name, a wildcard of one label before it, or empty."""
    return not host or (len(host) <= 253 and bool(_HOST.fullmatch(host)))


def normalised(path: str) -> str:
    """*path* in the one form that equivalent paths share, as the rules below bring a request's.

    Percent-encoded unreserved characters are decoded, other escapes in upper case, slashes
    merged, dot segments removed (RFC 3986, 6.2.2); ``%2F`` stays, it is no separator.
    """
    return _without_dots(re.sub("/{2,}", "/", _escaped(path)))


def row_key(host: str, kind: Kind, path: str) -> str:
    """The key of a row; *path* as the user wrote it, starting with ``/``."""
    match kind:
        case Kind.EXACT:
            return f"{host}{normalised(path)}/#"
        case Kind.REGEX:
            # The group keeps an alternative of the user's from leaving the host.
            return f"^{_literal(host)}(?:{_spelled(path)})"
        case Kind.PREFIX:
            return f"{host}{normalised(path).rstrip('/')}/"
        case Kind.DEFAULT | Kind.LAST:
            return f"{host}/"


def chain() -> tuple[Line, ...]:
    """The rules of a frontend: refuse what is ambiguous, normalise, look up.

    They leave the backend in ``txn.backend``; unset means that nothing matches. The request is
    forwarded as received. Tried on 2.6, 3.0, 3.2 and 3.4.
    """
    return lines(_CHAIN) + lines(_lookup("txn.site")) + lines(_lookup("txn.any"))


def switch() -> tuple[Line, ...]:
    """What acts on the look-up; HAProxy wants it after all other rules, and warns otherwise."""
    return lines("use_backend %[var(txn.backend)] if { var(txn.backend) -m found }")


def to_https(public_port: int) -> tuple[Line, ...]:
    """The rule that sends plain requests for a secure host to HTTPS; after `chain`.

    public_port: the port that clients are to use. What ACME asks for stays reachable, for the
    certificate may be what is missing. Whether a request is plain stands in ``txn.scheme``, which
    the rules of `headers` leave: TLS may end at a trusted sender.
    """
    port = "" if public_port == 443 else f":{public_port}"
    location = f"https://%[var(txn.host)]{port}%[var(txn.pathq)]"
    secure = f"{{ var(txn.site_flags) -m sub {TLS_FLAG} }}"
    asked = f"!{{ var(txn.scheme) -m str -i https }} {secure} !{{ var(txn.path) -m beg {ACME} }}"
    return lines(f"http-request redirect location {location} code 308 if {asked}")


_KNOWN = "{ var(txn.site_flags) -m found }"
_CHAIN = f"""
http-request deny deny_status 400 if {{ req.hdr_cnt(host) gt 1 }}
http-request deny deny_status 400 if {{ req.fhdr(host) -m reg '^[.]|[^][A-Za-z0-9._:-]' }}
http-request deny deny_status 400 if {{ path -m sub '#' }}
http-request set-var(txn.host) req.hdr(host),host_only,rtrim(.),lower
http-request set-var(txn.pathq) pathq
http-request normalize-uri percent-decode-unreserved
http-request normalize-uri percent-to-uppercase
http-request normalize-uri path-merge-slashes
http-request normalize-uri path-strip-dot
http-request normalize-uri path-strip-dotdot full
http-request set-var(txn.path) path
http-request set-pathq %[var(txn.pathq)]
http-request set-var(txn.any) str()
http-request set-var(txn.site) var(txn.host)
http-request set-var(txn.site_flags) var(txn.site),map_str({HOSTS})
http-request set-var-fmt(txn.site) *.%[var(txn.host),field(2,.,0)] unless {_KNOWN}
http-request set-var(txn.site_flags) var(txn.site),map_str({HOSTS}) unless {_KNOWN}
http-request set-var(txn.any_flags) str({ANY_HOST}),map_str({HOSTS})
"""


def _lookup(site: str) -> str:
    """Exact, regex, Prefix, if the site is known, unless there is a backend already."""
    flags, missing = f"var({site}_flags)", "!{ var(txn.backend) -m found }"
    regex = f"{{ {flags} -m sub {REGEX_FLAG} }}"
    path, key = f"var({site}),concat(,txn.path)", f"var({site}),concat(,txn.path,/#)"
    return f"""
http-request set-var(txn.backend) {key},map_str({ROUTES}) if {regex} {missing}
http-request set-var(txn.backend) {path},map_reg({REGEX}) if {regex} {missing}
http-request set-var(txn.backend) {key},map_beg({ROUTES}) if {{ {flags} -m found }} {missing}
"""


def _escaped(path: str) -> str:
    raw, out, at = path.encode(), [], 0
    while at < len(raw):
        byte = raw[at]
        if byte == 0x25 and re.fullmatch(rb"[0-9A-Fa-f]{2}", raw[at + 1 : at + 3]):
            value = int(raw[at + 1 : at + 3], 16)
            out.append(chr(value) if value in _UNRESERVED else f"%{value:02X}")
            at += 3
        else:
            out.append(f"%{byte:02X}" if byte in _ENCODED else chr(byte))
            at += 1
    return "".join(out)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _literal(host: str) -> str:
    return host.replace(".", r"\.").replace("*", r"\*")


def _spelled(pattern: str) -> str:
    # A map's key ends at white space; an escape means the same to PCRE2, unless it is escaped.
    return re.sub(r"\\.|[\0- \x7f]", _spelled_token, pattern, flags=re.DOTALL)


def _spelled_token(token: re.Match[str]) -> str:
    last = token[0][-1]
    return f"\\x{ord(last):02x}" if last <= " " or last == "\x7f" else token[0]
