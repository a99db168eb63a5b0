"""Take over a HAProxy that already runs, without a reload, when it has what is desired.

What cannot be asked (rules, profiles) is known from the live files, provided that they are of the
load that runs: HAProxy's ``description`` names the structure it loaded, and files that were
published later for the same worker keep that name.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from haproxy.apply import Files, Loaded, Process, Runtime
from haproxy.capabilities import Capabilities
from haproxy.errors import HAProxyError
from haproxy.model import Backend, Config, Map, lines
from haproxy.outline import Kept, Outline, outline
from haproxy.render import CONFIG_FILE, Renderer
from haproxy.tables import Identity

_UNKNOWN = ("unknown",)


def adopt(
    desired: Config,
    renderer: Renderer,
    files: Files,
    process: Process,
    runtime: Runtime,
    can: Capabilities,
) -> Loaded | None:
    """What the HAProxy of these *files* runs, in terms of *desired*; None when it must be loaded.

    That is when none runs, it is of another version, its structure differs or cannot be told.
    Backends and servers need not be the same. Never raises a `HAProxyError`.
    """
    try:
        if process.adopt() is None:
            return None
        found, live = runtime.identity(), outline(files.current(CONFIG_FILE).decode())
        wanted = outline(renderer.render(desired).files[CONFIG_FILE].decode())
        if Capabilities.of(found.version) != can or not _same(found, live, wanted):
            return None
        running = runtime.read(_known(desired, live, found.backends), found.pid)
    except (HAProxyError, UnicodeDecodeError):
        return None
    running = evolve(running, backends=_with_options(running.backends, live.backends))
    return Loaded(running, found.pid, description=found.description)


def _same(found: Identity, live: Outline, wanted: Outline) -> bool:
    profiles = live.profiles.keys() & wanted.profiles.keys()
    return (
        bool(found.description)
        and found.description == live.description
        and live.fixed == wanted.fixed
        and all(live.profiles[name] == wanted.profiles[name] for name in profiles)
    )


def _known(desired: Config, live: Outline, backends: frozenset[str]) -> Config:
    """What the files tell; servers, rows and certificates are still to be read."""
    there = {name: kept for name, kept in live.backends.items() if name in backends}
    # Added at runtime by somebody who died before the files followed.
    unknown = {
        name: Kept(*_UNKNOWN) for name in backends - there.keys() if name in desired.backends
    }
    return evolve(
        desired,
        profiles={name: one for name, one in desired.profiles.items() if name in live.profiles},
        backends={
            name: _backend(name, kept, desired.backends.get(name))
            for name, kept in {**there, **unknown}.items()
        },
        maps={name: Map(name, ordered=one.ordered) for name, one in desired.maps.items()},
    )


def _backend(name: str, kept: Kept, wanted: Backend | None) -> Backend:
    options = kept.options
    if options is None:
        options = wanted.server_options if wanted else ()
    origins = wanted.origins if wanted else ()
    return Backend(
        name, kept.profile, lines=lines(kept.lines), server_options=options, origins=origins
    )


def _with_options(running: Mapping[str, Backend], live: Mapping[str, Kept]) -> dict[str, Backend]:
    """Servers that came after the files were written: how they were made cannot be told."""
    return {
        name: evolve(backend, server_options=_UNKNOWN)
        if backend.servers and name in live and live[name].options is None
        else backend
        for name, backend in running.items()
    }
