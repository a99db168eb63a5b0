"""The Runtime API by noun: typed calls and what they return. No IO of its own.

A call checks its values and the version before anything is sent, sends, checks the replies, and
returns records. All raise `InvalidValue` for a value that no command can carry, `Unsupported` for
what the version lacks, `CommandRejected` when HAProxy says no (`BatchFailed` where a call needs
several commands), `UnreadableReply` for an answer of another shape, and what `Channel` raises.
"""

from haproxy.calls.authorities import Authorities, Authority
from haproxy.calls.backends import Backends
from haproxy.calls.certificates import Certificates, CertificateShown, ServedName
from haproxy.calls.channel import Channel
from haproxy.calls.client import Client
from haproxy.calls.crtlists import CrtListLine, CrtLists
from haproxy.calls.events import Events, Sink
from haproxy.calls.patterns import Acls, Maps, PatternFile
from haproxy.calls.servers import ServerConnections, Servers, Weight
from haproxy.calls.sessions import Sessions, Stream
from haproxy.calls.settings import Frontends, Settings, Variables
from haproxy.calls.stats import Stat, Stats
from haproxy.calls.sticktables import StickTable, StickTables, TableEntry

__all__ = [
    "Acls",
    "Authorities",
    "Authority",
    "Backends",
    "CertificateShown",
    "Certificates",
    "Channel",
    "Client",
    "CrtListLine",
    "CrtLists",
    "Events",
    "Frontends",
    "Maps",
    "PatternFile",
    "ServedName",
    "ServerConnections",
    "Servers",
    "Sessions",
    "Settings",
    "Sink",
    "Stat",
    "Stats",
    "StickTable",
    "StickTables",
    "Stream",
    "TableEntry",
    "Variables",
    "Weight",
]
