"""A `Config` as the files that HAProxy loads, and back from a line to who asked for it.

All quoting of ``haproxy.cfg`` and of map files is here. The same `Config` always gives the same
bytes. Sections come in a fixed order: frontends stand before the profiles, because a proxy that
names no ``defaults`` section takes the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import itemgetter

from attrs import evolve, field, frozen, mutable

from haproxy.errors import InvalidValue
from haproxy.model import (
    Backend,
    Certificate,
    Config,
    CrtList,
    Frontend,
    Global,
    Line,
    Map,
    Origin,
    Profile,
    Resolvers,
    Row,
    Server,
    State,
)
from haproxy.outline import outline
from haproxy.units import time

CONFIG_FILE = "haproxy.cfg"
NO_NAME = "!*"  # of a crt-list: for no server name
MAX_ROW_BYTES = 16_000  # a longer one is cut in two when loaded (tried on 2.6 to 3.4)

_PLAIN = re.compile(r"[A-Za-z0-9_./:,()=%@+*\[\]{}!<>|?~^-]+")
_FILE = re.compile(r"'([^']+)'")
_CRT_WORD = re.compile(r"[A-Za-z0-9_./*-]{1,400}")
_BAD_KEY = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
_AT_LINE = re.compile(r"parsing \[[^\]]*?([^/\]]+):(\d+)\]")
# Last, for the words before may be a user's.
_AT_MAP = re.compile(r"at line (\d+) of file '([^']+)'\W*$")


def quote(word: str) -> str:
    """One word of a line, so that HAProxy reads exactly *word* and nothing of it is special.

    Single quotes, because double quotes expand ``$VAR`` (configuration manual 2.2).
    """
    if _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


@frozen
class Block:
    """Lines that stand or fall together. origins: who asked for them."""

    text: str
    origins: tuple[Origin, ...] = ()


@frozen
class Rendered:
    """The files, by path relative to the configuration, and whose each line is."""

    files: Mapping[str, bytes] = field(repr=False)
    description: str
    _blocks: tuple[Block, ...] = field(repr=False)
    _maps: Mapping[str, Map] = field(repr=False)
    _certificates: Mapping[str, Certificate] = field(repr=False)

    def origins(self, alert: str) -> tuple[Origin, ...]:
        """Who asked for what HAProxy complains about in *alert*, one of its ALERT lines.

        Empty when the line says no place, or one that nobody asked for.
        """
        if (at := _AT_MAP.search(alert)) and at[2] in self._maps:
            rows = _in_order(self._maps[at[2]])
            index = int(at[1]) - 1
            origin = rows[index][1].origin if index < len(rows) else None
            return () if origin is None else (origin,)
        at = _AT_LINE.search(alert)
        found = self._at(int(at[2])) if at and at[1] == CONFIG_FILE else ()
        return found or tuple(self._files(alert))

    def _files(self, alert: str) -> Iterator[Origin]:
        for name in _FILE.findall(alert):
            if (certificate := self._certificates.get(name)) and certificate.origin is not None:
                yield certificate.origin

    def _at(self, line: int) -> tuple[Origin, ...]:
        for block in self._blocks:
            line -= block.text.count("\n")
            if line <= 0:
                return block.origins
        return ()


@mutable
class Renderer:
    """Renders, and remembers the text of backends and maps: the same object costs nothing."""

    _memo: dict[str, tuple[Backend, Block]] = field(factory=dict, init=False)
    _maps: dict[str, tuple[Map, bytes]] = field(factory=dict, init=False, repr=False)

    def render(self, config: Config, description: str = "") -> Rendered:
        """The files of *config*. Raises `InvalidValue` for a map row that no file can hold.

        description: what HAProxy says of itself once it has loaded them, by default the name of
        the structure; files that only follow what runs keep the name of what was loaded.
        """
        memo = {
            name: known
            if (known := self._memo.get(name)) and known[0] is backend
            else (backend, _section("backend", _backend(backend), backend.origins))
            for name, backend in sorted(config.backends.items())
        }
        self._memo = memo
        blocks = (*_structure(config), *(block for _, block in memo.values()))
        description = description or outline("".join(block.text for block in blocks)).name
        blocks = _described(blocks, description)
        files = {CONFIG_FILE: "".join(block.text for block in blocks).encode()}
        self._maps = {
            name: kept
            if (kept := self._maps.get(name)) and kept[0] is each
            else (each, map_file(each))
            for name, each in sorted(config.maps.items())
        }
        files |= {name: text for name, (_, text) in self._maps.items()}
        files |= {name: one.pem.encode() for name, one in sorted(config.certificates.items())}
        files |= {name: crt_list_file(one) for name, one in sorted(config.crt_lists.items())}
        return Rendered(files, description, blocks, config.maps, config.certificates)


def render(config: Config) -> Rendered:
    """The files of *config*, from scratch."""
    return Renderer().render(config)


def map_file(of: Map) -> bytes:
    """A map as a file: one row a line, key and value separated by a space."""
    return "".join(f"{row}\n" for row in map_rows(of)).encode()


def crt_list_file(of: CrtList) -> bytes:
    """A crt-list as a file: the default first, then one line per server name.

    The default serves no name of its own: with ``!*`` the names it holds stay out of the look-up,
    where they would come before those of the lines (configuration manual, ``crt-list``).
    """
    lines = sorted(f"{_word(one.certificate)} {_word(one.sni)}\n" for one in of.served.values())
    return "".join([f"{_word(of.default)} {NO_NAME}\n", *lines]).encode()


def _word(text: str) -> str:
    if not _CRT_WORD.fullmatch(text):
        raise InvalidValue("crt-list", text, "a file name, or a DNS name or a wildcard of one")
    return text


def map_rows(of: Map) -> Iterator[str]:
    """Each row of a map as ``key value``; raises `InvalidValue` for what no file can hold."""
    for key, row in _in_order(of):
        text = f"{key} {row.value}"
        if not key or key.startswith("#") or _BAD_KEY.search(key):
            raise InvalidValue(of.name, key, "a key without white space, not starting with #")
        if not row.value or row.value != row.value.strip():
            raise InvalidValue(of.name, key, "a value without white space at its ends")
        if len(text.encode()) > MAX_ROW_BYTES:
            raise InvalidValue(of.name, key, f"at most {MAX_ROW_BYTES} bytes with its value")
        yield text


def _in_order(of: Map) -> list[tuple[str, Row]]:
    """The rows as the file has them: the same whatever order they came in, unless it counts."""
    return list(of.rows.items()) if of.ordered else sorted(of.rows.items(), key=itemgetter(0))


def _described(blocks: tuple[Block, ...], description: str) -> tuple[Block, ...]:
    """*blocks*, of which the first is ``global``, with a ``description`` in there."""
    head, _, rest = blocks[0].text.partition("\n")
    first = evolve(blocks[0], text=f"{head}\n  description {quote(description)}\n{rest}")
    return (first, *blocks[1:])


def _structure(config: Config) -> Iterator[Block]:
    yield _section("global", _global(config.process))
    for resolvers in config.resolvers:
        yield _section("resolvers", _resolvers(resolvers))
    for frontend in config.frontends:
        yield _section("frontend", _frontend(frontend))
    users: dict[str, list[tuple[Origin, ...]]] = {name: [] for name in config.profiles}
    for _, backend in sorted(config.backends.items()):
        users.setdefault(backend.profile, []).append(backend.origins)
    for name, profile in sorted(config.profiles.items()):
        yield _section("defaults", _profile(profile), _askers(users[name]))


def _askers(users: list[tuple[Origin, ...]]) -> tuple[Origin, ...]:
    """Who asked for a profile: nobody, if a backend of our own has it too."""
    return tuple(dict.fromkeys(chain.from_iterable(users))) if all(users) else ()


def _section(
    keyword: str, body: Iterable[tuple[str, ...]], origins: tuple[Origin, ...] = ()
) -> Block:
    head, *rest = body
    text = [" ".join((keyword, *map(quote, head)))]
    text += ["  " + " ".join(map(quote, words)) for words in rest]
    return Block("\n".join(text) + "\n\n", origins)


def _global(process: Global) -> Iterator[tuple[str, ...]]:
    yield ()
    # Relative to the folder of this file, so that one generation of files is read together.
    yield ("default-path", "config")
    if process.runtime_socket:
        yield ("stats", "socket", process.runtime_socket, "mode", "600", "level", "admin")
    for keyword, value in (
        ("maxconn", process.maxconn),
        ("fd-hard-limit", process.fd_limit),
        ("nbthread", process.threads),
    ):
        if value:
            yield (keyword, str(value))
    yield ("hard-stop-after", time(process.hard_stop_after_ms))
    yield ("mworker-max-reloads", str(process.max_reloads))
    if process.experimental:
        yield ("expose-experimental-directives",)


def _resolvers(resolvers: Resolvers) -> Iterator[tuple[str, ...]]:
    yield (resolvers.name,)
    for number, address in enumerate(resolvers.nameservers, start=1):
        yield ("nameserver", f"ns{number}", address)
    if not resolvers.nameservers:
        yield ("parse-resolv-conf",)


def _frontend(frontend: Frontend) -> Iterator[tuple[str, ...]]:
    yield (frontend.name,)
    yield ("mode", "http")
    for bind in frontend.binds:
        yield ("bind", f"{_host(bind.address)}:{bind.port}", *bind.options)
    yield ("timeout", "client", time(frontend.client_timeout_ms))
    yield ("timeout", "http-request", time(frontend.http_request_timeout_ms))
    yield ("timeout", "http-keep-alive", time(frontend.keep_alive_timeout_ms))
    # Without it keep-alive clients see resets at a reload (144 in 461,000 requests on 2.6).
    yield ("option", "idle-close-on-response")
    yield from _words(frontend.rules)
    if frontend.default_backend:
        yield ("default_backend", frontend.default_backend)


def _profile(profile: Profile) -> Iterator[tuple[str, ...]]:
    yield (profile.name,)
    yield ("mode", "http")
    yield ("balance", *profile.balance.split())
    yield ("timeout", "connect", time(profile.connect_timeout_ms))
    yield ("timeout", "server", time(profile.server_timeout_ms))
    yield ("timeout", "tunnel", time(profile.tunnel_timeout_ms))
    yield ("timeout", "queue", time(profile.queue_timeout_ms))
    yield ("retries", str(profile.retries))
    yield ("option", "redispatch", "1")
    yield ("retry-on", *profile.retry_on)
    yield from _words(profile.rules)


def _backend(backend: Backend) -> Iterator[tuple[str, ...]]:
    yield (backend.name, "from", backend.profile)
    yield from _words(backend.lines)
    for _, server in sorted(backend.servers.items()):
        yield _server(server, backend.server_options)


def _server(server: Server, options: tuple[str, ...]) -> tuple[str, ...]:
    # The configuration has no word for drain; weight 0 is what drain means for new requests.
    weight = 0 if server.state is State.DRAIN else server.weight
    return (
        *("server", server.name, f"{_host(server.address)}:{server.port}"),
        *("id", str(server.id), "weight", str(weight), *options),
        *(("disabled",) if server.state is State.MAINT else ()),
    )


def _words(lines: Iterable[Line]) -> Iterator[tuple[str, ...]]:
    return (line.words for line in lines)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
