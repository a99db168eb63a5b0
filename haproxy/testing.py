"""A HAProxy in memory, for tests of what drives one: ours and yours.

`FakeHAProxy` is one behind the Protocols of `haproxy.apply`. `FakeSocket` gives it a voice: the
Runtime API on a real unix socket, as a release line of your choice speaks it, which can be told
to misbehave.
"""

from haproxy.fake import FakeHAProxy
from haproxy.fake_socket import FakeSocket
from haproxy.faults import Close, Drip, Fault, Hang, Notice, Refuse, Restart

__all__ = [
    "Close",
    "Drip",
    "FakeHAProxy",
    "FakeSocket",
    "Fault",
    "Hang",
    "Notice",
    "Refuse",
    "Restart",
]
