"""What a backend is told about the client, and what a client cannot say for itself.

Fixed rules at the head of the frontends' chain; none of them waits for anything. Whether the
sender is trusted is one look-up of its address. From an untrusted one all headers of the list go
first; what is missing then is set. The rules leave ``txn.scheme``, the client's ``http`` or
``https``, and `src` is the client's address for all rules behind them.
"""

from __future__ import annotations

from collections.abc import Iterable

from haproxy.model import Line, Map, Row, lines

TRUSTED = "maps/trusted.map"

# So many trusted proxies in front of the sender are seen through.
HOPS = 4
# What others can correlate, and no log or shell can trip over.
MAX_REQUEST_ID = 128


def trusted_map(networks: Iterable[str]) -> Map:
    """networks: whose senders are believed, as ``ADDRESS/BITS``."""
    return Map(TRUSTED, {network: Row("trusted") for network in networks})


def chain() -> tuple[Line, ...]:
    """The rules of a frontend, before those that route. Tried on 2.6, 3.0, 3.2 and 3.4."""
    return lines(_SENDER) + lines(_ADDRESSES) + lines(_client()) + lines(_REQUEST)


_TRUST = "{ var(txn.trusted) -m found }"
_LIST = "{ var(txn.forwarded_for) -m len gt 0 }"

# Servers that make variables of headers, as CGI and WSGI do, take _ and - for the same: so either
# is removed, and from a trusted sender what is not spelled as it should be. HAProxy has header
# names in lower case.
_OURS = r"(?:forwarded[-_]|original[-_](?:uri|forwarded[-_]for)$|real[-_]ip$|scheme$)"
_NEVER = r"proxy$|ssl[-_]client[-_]|x_request[-_]id$|x-request_id$"
_FORGED = rf"^(?:{_NEVER}|forwarded$|x[-_]{_OURS})"
_MISSPELLED = rf"^(?:{_NEVER}|(?=[^_]*_)x[-_]{_OURS})"

# Several lines are one list (RFC 9110, 5.3), and some servers see only the first or the last line.
_OTHERS = r"(?:(?!x-forwarded-for:)[^\r]*\r\n)*"
_ONE_LIST = (
    rf'req.hdrs,regsub("(?i)\G{_OTHERS}x-forwarded-for: *([^\r]*)\r\n{_OTHERS}","\1, ",g)'
    ',rtrim(", ")'
)

# A server that honours Connection would drop what it names there. What follows an upgrade to HTTP/2
# would pass by every rule of ours; HAProxy takes care of that itself since 3.0.
_SENDER = f"""
http-request del-header Connection if {{ req.hdr(connection) -m beg -i x- ssl- }}
http-request del-header Upgrade if {{ req.hdr(upgrade) -m str -i h2c }}
http-request set-var(txn.trusted) src,map_ip({TRUSTED})
http-request set-header X-Forwarded-For '%[{_ONE_LIST}]' if {{ req.fhdr_cnt(x-forwarded-for) gt 1 }}
http-request set-var(txn.forwarded_for) req.fhdr(x-forwarded-for,1)
http-request del-header '{_FORGED}' -m reg unless {_TRUST}
http-request del-header '{_MISSPELLED}' -m reg if {_TRUST}
"""

_ADDRESSES = f"""
http-request set-header X-Original-Forwarded-For %[var(txn.forwarded_for)] if {_LIST} !{_TRUST}
http-request set-header X-Forwarded-For %[src]
http-request set-header X-Forwarded-For '%[var(txn.forwarded_for)], %[src]' if {_LIST} {_TRUST}
"""


def _client() -> str:
    """The client is the last address of the list that is not trusted.

    The last one of all is the sender. One that is no address ends the search: whoever wrote it is
    as far as can be seen.
    """
    rules, condition = [], _TRUST
    for place in range(2, HOPS + 2):
        address = f"req.hdr_ip(x-forwarded-for,-{place})"
        rules.append(f"http-request set-src {address} if {condition}")
        condition += f" {{ {address},map_ip({TRUSTED}) -m found }}"
    return "\n".join(rules)


def _said(header: str) -> str:
    """Whether a trusted sender has said it: what others said is gone."""
    return f"{{ req.fhdr({header},-1) -m len gt 0 }}"


_ID = rf"^[A-Za-z0-9._:/+=@~-]{{1,{MAX_REQUEST_ID}}}$"

# The URI comes twice then: where there is no room for that, the request goes on without.
_REQUEST = f"""
http-request set-header X-Real-IP %[src]
http-request set-var(txn.scheme) ssl_fc,iif(https,http)
http-request set-var(txn.scheme) req.fhdr(x-forwarded-proto,-1) if {_said("x-forwarded-proto")}
http-request set-header X-Forwarded-Proto %[var(txn.scheme)]
http-request set-header X-Forwarded-Scheme %[var(txn.scheme)]
http-request set-header X-Scheme %[var(txn.scheme)]
http-request set-header X-Forwarded-Host %[req.fhdr(host)] unless {_said("x-forwarded-host")}
http-request set-header X-Forwarded-Port %[dst_port] unless {_said("x-forwarded-port")}
http-request set-header X-Request-ID %[uuid()] \
unless {{ req.fhdr_cnt(x-request-id) eq 1 }} {{ req.fhdr(x-request-id,1) -m reg {_ID} }}
http-request strict-mode off
http-request set-header X-Original-URI %[pathq]
http-request strict-mode on
"""
