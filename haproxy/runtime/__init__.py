"""The Runtime API over its sockets: the only client-side room that touches them."""

from haproxy.runtime.client import DEADLINE_S, RuntimeClient
from haproxy.runtime.connection import Deadline, ask, dial, stream
from haproxy.runtime.session import Session

__all__ = ["DEADLINE_S", "Deadline", "RuntimeClient", "Session", "ask", "dial", "stream"]
