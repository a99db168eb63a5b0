"""Record the replies of the HAProxy that ``$HAPROXY`` is, for `tests.haproxy.recorded`.

HAPROXY=haproxy python -m tests.integration.kit.record
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from tests.haproxy.recorded import COMMANDS, REPLIES
from tests.integration.kit.real import running, version


def main() -> None:
    folder = REPLIES / str(version())
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as state,
        running(Path(state)) as haproxy,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(haproxy.socket)
        connection.settimeout(5)
        for name, command in COMMANDS.items():
            connection.sendall(command.encode() + b"\n")
            reply = b""
            while not reply.endswith(b"\n> "):
                reply += connection.recv(65_536)
            (folder / f"{name}.txt").write_bytes(reply)


if __name__ == "__main__":
    main()
