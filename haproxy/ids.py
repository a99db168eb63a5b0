"""Who keeps which id: sticky clients and the hash ring follow a server's id, not its name."""

from __future__ import annotations

import zlib

from attrs import evolve, field, mutable

from haproxy.model import ID_SPACE, Backend, Config, Server


@mutable
class Resolver:
    """Gives ids, and remembers: a backend that is the same object on both sides costs nothing."""

    _memo: dict[str, tuple[Backend, Backend | None, Backend]] = field(factory=dict, init=False)

    def resolve(self, desired: Config, running: Config) -> Config:
        """*desired* with an id for every server: the running one where there is one."""
        memo = {}
        for name, new in desired.backends.items():
            old = running.backends.get(name)
            known = self._memo.get(name)
            if not (known and known[0] is new and known[1] is old):
                known = (new, old, with_ids(new, old))
            memo[name] = known
        self._memo = memo
        return evolve(desired, backends={name: known[2] for name, known in memo.items()})


def resolved(desired: Config, running: Config) -> Config:
    """*desired* with an id for every server: the running one where there is one."""
    return Resolver().resolve(desired, running)


def with_ids(new: Backend, old: Backend | None) -> Backend:
    """*new* with an id for every server.

    A server that runs keeps its id. Another gets its own, if that is free, or one derived from its
    address and port, so that the hash ring is the same on every replica, probed until it is free.
    """
    known = old.servers if old else {}
    taken = {server.id % ID_SPACE for server in known.values()}
    servers: dict[str, Server] = {}
    for name, server in sorted(new.servers.items()):
        number = known[name].id if name in known else _free(server, taken)
        taken.add(number % ID_SPACE)
        servers[name] = server if number == server.id else evolve(server, id=number)
    return evolve(new, servers=servers)


def _free(server: Server, taken: set[int]) -> int:
    if server.id and server.id % ID_SPACE not in taken:
        return server.id
    number = zlib.crc32(f"{server.address}:{server.port}".encode()) % (ID_SPACE - 1) + 1
    while number in taken:
        number = number % (ID_SPACE - 1) + 1
    return number
