"""The daemon's flags and environment, declared once.

Every option is a flag ``--KEY`` and a variable ``HAPROXY_INGRESS_KEY``; the flag wins. A variable
that is set to nothing counts as not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from haproxy_ingress.grammars import (
    ADDRESS,
    ADDRESS_PORT,
    BIND_ADDRESS,
    BOOL,
    CHOICE,
    CIDR,
    DOMAIN_PATH,
    DURATION_MS,
    INT,
    MANY,
    NAMESPACED,
    NAMESPACED_PORT,
    OBJECT_NAME,
    OPTIONAL,
    PATH,
    PORT,
    TEXT,
)
from haproxy_ingress.settings import Problem, knob, knobs, read

PREFIX = "HAPROXY_INGRESS_"
Given = Mapping[str, str | Sequence[str]]

_SYSTEM_STATE = Path("/run/haproxy-ingress")
_LINKS = ("tcp://", "udp://", "sctp://")
_PORT = INT(0, 65535)


@frozen
class Options:
    """What ``haproxy-ingress run`` was told. All times in milliseconds.

    A port of 0 switches its listener off. `state_dir` is None only until `options` has chosen one.
    """

    manifests: tuple[Path, ...] = knob(
        "manifests",
        MANY(PATH),
        default="",
        doc="Take objects from this YAML or JSON file or folder, and watch it.",
    )
    ingress_class: str = knob(
        "ingress-class",
        OBJECT_NAME,
        default="haproxy",
        doc="Serve Ingresses of this class.",
    )
    controller_name: str = knob(
        "controller-name",
        DOMAIN_PATH,
        default="haproxy-ingress.io/controller",
        doc="The spec.controller of the IngressClasses that are ours, whatever their names.",
    )
    watch_ingress_without_class: bool = knob(
        "watch-ingress-without-class",
        BOOL,
        default="false",
        doc="Also serve Ingresses that name no class.",
    )
    default_backend_service: tuple[str, str, str] | None = knob(
        "default-backend-service",
        OPTIONAL(NAMESPACED_PORT),
        default="",
        doc="Where unmatched requests go; without it they are answered 404.",
    )
    haproxy: str = knob(
        "haproxy",
        TEXT,
        default="haproxy",
        doc="The HAProxy to run: a path, or a name on PATH.",
    )
    state_dir: Path | None = knob(  # noqa: RUF009 - a knob is an attrs field
        "state-dir",
        OPTIONAL(PATH),
        default="",
        doc="Folder for configuration and sockets; else /run/haproxy-ingress, and where that"
        " cannot be used, $XDG_RUNTIME_DIR/haproxy-ingress.",
    )
    bind_addresses: tuple[str, ...] = knob(
        "bind-address",
        MANY(BIND_ADDRESS),
        default="*",
        doc="Listen on this address; * is any, IPv4 and IPv6.",
    )
    http_port: int = knob(
        "http-port",
        _PORT,
        default="8080",
        doc="Port for HTTP; 0 switches it off.",
    )
    https_port: int = knob(
        "https-port",
        _PORT,
        default="8443",
        doc="Port for HTTPS; 0 switches it off.",
    )
    public_https_port: int = knob(
        "public-https-port",
        PORT,
        default="443",
        doc="The port that redirects to HTTPS name.",
    )
    default_tls_secret: tuple[str, str] | None = knob(
        "default-tls-secret",
        OPTIONAL(NAMESPACED),
        default="",
        doc="The certificate for server names without one; else one that is made at the start.",
    )
    admin_address: str = knob(
        "admin-address",
        ADDRESS,
        default="127.0.0.1",
        doc="Address of health, metrics and API.",
    )
    admin_port: int = knob(
        "admin-port",
        _PORT,
        default="10254",
        doc="Port of health, metrics and API; 0 switches them off.",
    )
    reload_interval_ms: int = knob(
        "reload-interval",
        DURATION_MS,
        default="2s",
        doc="At most one reload in so long, the first at once.",
    )
    shutdown_delay_ms: int = knob(
        "shutdown-delay",
        DURATION_MS,
        default="0s",
        doc="After SIGTERM: not ready, but serve for so long before draining.",
    )
    trusted_proxies: tuple[str, ...] = knob(
        "trusted-proxies",
        MANY(CIDR),
        default="",
        doc="Believe the X-Forwarded headers of senders in this network.",
    )
    proxy_protocol: bool = knob(
        "proxy-protocol",
        BOOL,
        default="false",
        doc="Clients speak the PROXY protocol, v1 or v2; those that do not are refused.",
    )
    nameservers: tuple[str, ...] = knob(
        "nameserver",
        MANY(ADDRESS_PORT),
        default="",
        doc="Resolve ExternalName Services here; without it, by the servers in /etc/resolv.conf.",
    )
    log_level: str = knob(
        "log-level",
        CHOICE("debug", "info", "warning", "error"),
        default="info",
        doc="The least important messages to log.",
    )
    log_format: str = knob(
        "log-format",
        CHOICE("text", "json"),
        default="text",
        doc="One line a message, for people or for machines.",
    )


def variable(key: str) -> str:
    """The environment variable of the option *key*: http-port is HAPROXY_INGRESS_HTTP_PORT."""
    return PREFIX + key.upper().replace("-", "_")


def options(flags: Given, environ: Mapping[str, str]) -> tuple[Options, tuple[Problem, ...]]:
    """What was asked for on the command line and in the environment, and all that is wrong.

    flags: by key; a repeated flag has a sequence. The keys of the problems are what the user
    wrote: the flag, or the variable.
    """
    chosen, problems = read(Options, {**_from_environ(environ), **flags})
    named = tuple(evolve(one, key=_written(one.key, flags)) for one in problems)
    settled = evolve(chosen, state_dir=chosen.state_dir or _state_dir(environ))
    return settled, named + _missing(settled, {one.key for one in problems})


def _from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The options in *environ*, by key.

    Kubernetes tells every pod of its namespace about a Service called haproxy-ingress-admin by
    HAPROXY_INGRESS_ADMIN_PORT=tcp://10.0.0.1:80 and the like: such links are not meant for us,
    and variables that we do not know may be of that kind too.
    """
    given = {one.key: environ.get(variable(one.key), "") for one in knobs(Options)}
    return {key: text for key, text in given.items() if text and not text.startswith(_LINKS)}


def _written(key: str, flags: Given) -> str:
    return f"--{key}" if key in flags else variable(key)


def _missing(chosen: Options, refused: set[str]) -> tuple[Problem, ...]:
    """What no default can stand in for; *refused* keys have been complained about already."""
    missing = []
    if not chosen.manifests and "manifests" not in refused:
        missing.append(
            Problem("--manifests", "a source of objects is needed", "a file or folder to watch")
        )
    if not chosen.state_dir and "state-dir" not in refused:
        missing.append(
            Problem("--state-dir", f"is needed: {_SYSTEM_STATE} cannot be used", PATH.allowed)
        )
    return tuple(missing)


def _state_dir(environ: Mapping[str, str]) -> Path | None:
    if _usable(_SYSTEM_STATE):
        return _SYSTEM_STATE
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime, "haproxy-ingress") if runtime else None


def _usable(folder: Path) -> bool:
    """Whether *folder* can be written, or made."""
    there = folder if folder.exists() else folder.parent
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
