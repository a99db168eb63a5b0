"""One Ingress, seen through a View, as a Fragment: its routes and the backends they need.

A fragment never reads EndpointSlices: the members of a backend are a translation of their own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

from attrs import evolve, field, frozen

from haproxy.model import Profile, lines
from haproxy_ingress.annotations import read_annotations
from haproxy_ingress.diagnostics import Diagnostic, Ref, Why
from haproxy_ingress.naming import NOT_FOUND, UNAVAILABLE, backend_name
from haproxy_ingress.resources import (
    Ingress,
    Path,
    PathType,
    ResourceTarget,
    Service,
    ServicePort,
    Target,
)
from haproxy_ingress.routing import EXTERNAL, MAX_PATH, Kind, normalised, row_key, valid_host
from haproxy_ingress.store import View

CLASS_ANNOTATION = "kubernetes.io/ingress.class"

_MAX_SERVICE = 63  # the API's own bound; HAProxy's for the name of a backend is 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What PCRE2 takes for one (pcre2_compile.c, check_posix_syntax), and some more.
_POSIX_CLASS = re.compile(r"\[([:.=])(?:\\[\]\\]|\\(?![\]\\])|[^\]\\])*\1\]")

# Only what may be processed twice without harm is tried again once it was sent (RFC 9110, 9.2.2).
_SAFE_RETRIES = lines(
    "http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }"
)
DEFAULT_PROFILE = Profile(rules=_SAFE_RETRIES)
# The name is looked up when a request comes; an address of either family will do.
EXTERNAL_PROFILE = evolve(
    DEFAULT_PROFILE,
    rules=_SAFE_RETRIES
    + lines(f"""
http-request set-var(txn.name) be_name,map_str({EXTERNAL})
http-request do-resolve(txn.address,dns,ipv4) var(txn.name)
http-request do-resolve(txn.address,dns,ipv6) var(txn.name) unless {{ var(txn.address) -m found }}
http-request deny deny_status 502 unless {{ var(txn.address) -m found }}
http-request set-dst var(txn.address)
"""),
)


@frozen
class Settings:
    """What the daemon's options say about translation.

    default_backend: namespace, name and port of the Service for unmatched requests; the port is
    empty for the Service's first one. nameservers: ``ADDRESS:PORT``, empty for resolv.conf's.
    """

    ingress_class: str = "haproxy"
    controller_name: str = "haproxy-ingress.io/controller"
    without_class: bool = False
    default_backend: tuple[str, str, str] | None = None
    bind_addresses: tuple[str, ...] = ("*", "::")
    http_port: int = 8080
    nameservers: tuple[str, ...] = ()
    runtime_socket: str = ""


@frozen
class Need:
    """A backend that some route needs: a port of a Service, with a profile.

    port_name: as in the Service, which is its name in EndpointSlices too. external: the name to
    resolve when the Service is of type ExternalName.
    """

    namespace: str
    service: str
    port: int
    port_name: str = ""
    external: str = ""
    profile: Profile = DEFAULT_PROFILE

    @property
    def name(self) -> str:
        return backend_name(self.namespace, self.service, self.port)


@frozen
class Route:
    """A map row that an Ingress asks for. where: the field that asks, for messages."""

    host: str
    kind: Kind
    path: str
    backend: str
    where: str
    key: str = field(init=False)

    @key.default
    def _key(self) -> str:
        return row_key(self.host, self.kind, self.path)


@frozen
class Fragment:
    """What one Ingress contributes. age sorts the oldest Ingress first."""

    ref: Ref
    age: tuple[bool, str, str, str] = (True, "", "", "")
    routes: tuple[Route, ...] = ()
    needs: tuple[Need, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


def is_ours(ingress: Ingress, view: View, settings: Settings) -> bool:
    """Whether we serve an Ingress: by its class object, its class's name, or the default class.

    The old annotation precedes spec.ingressClassName, as the API's reference demands.
    """
    name = ingress.meta.annotations.get(CLASS_ANNOTATION, ingress.ingress_class)
    if name:
        named = view.ingress_class(name)
        if named is None:
            return name == settings.ingress_class
        return named.controller == settings.controller_name
    ours = (one.controller == settings.controller_name for one in view.default_classes())
    return settings.without_class or any(ours)


def translate(ingress: Ingress, view: View, settings: Settings) -> Fragment | None:
    """The fragment of *ingress*, or None when it is not ours."""
    if not is_ours(ingress, view, settings):
        return None
    annotations, problems = read_annotations(ingress.ref, ingress.meta.annotations)
    work = _Work(ingress, view, annotations.routing.use_regex, list(problems))
    routes = tuple(work.routes())
    return Fragment(
        ingress.ref,
        ingress.meta.age,
        routes,
        tuple(dict.fromkeys(work.needs)),
        tuple(work.diagnostics),
    )


def default_fragment(view: View, settings: Settings) -> Fragment | None:
    """The fragment of ``--default-backend-service``: the last resort of all routes."""
    if settings.default_backend is None:
        return None
    namespace, name, port = settings.default_backend
    ref = Ref("Service", namespace, name)
    service = view.service(namespace, name)
    wanted = port or (service.ports[0].port if service and service.ports else "")
    found = _port(service, int(wanted) if str(wanted).isdecimal() else wanted)
    if service is None or found is None:
        missing = f"the default backend has no port {wanted}" if service else "no such Service"
        problem = Diagnostic(ref, Why.BACKEND_NOT_FOUND, "spec.ports", missing)
        return Fragment(ref, diagnostics=(problem,))
    if refusal := _refusal(service, found):
        return Fragment(ref, diagnostics=(Diagnostic(ref, Why.UNSUPPORTED, "spec", refusal),))
    need = _need(service, found)
    route = Route("", Kind.LAST, "", need.name, "--default-backend-service")
    return Fragment(ref, routes=(route,), needs=(need,))


@frozen
class _Work:
    """The translation of one Ingress while it goes on."""

    ingress: Ingress
    view: View
    use_regex: bool
    diagnostics: list[Diagnostic]
    needs: list[Need] = field(factory=list)

    def routes(self) -> Iterator[Route]:
        hosts = []
        for number, rule in enumerate(self.ingress.rules):
            where = f"spec.rules[{number}]"
            host = rule.host.lower()
            if not valid_host(host):
                self._invalid(f"{where}.host", host, "a DNS name, or *. and one")
                continue
            hosts.append(host)
            for index, path in enumerate(rule.paths):
                yield from self._path(host, path, f"{where}.http.paths[{index}]")
        if target := self.ingress.default_backend:
            where = "spec.defaultBackend"
            backend = self._backend(target, where)
            for host in dict.fromkeys(hosts) if self.ingress.rules else ("",):
                yield Route(host, Kind.DEFAULT, "", backend, where)

    def _path(self, host: str, path: Path, where: str) -> Iterator[Route]:
        kind = self._kind(path)
        if not path.path.startswith("/") or _length(kind, path.path) > MAX_PATH:
            allowed = f"a path that starts with /, at most {MAX_PATH} characters when encoded"
            self._invalid(f"{where}.path", path.path, allowed)
        elif kind is Kind.REGEX and (problem := _regex_problem(path.path)):
            self._invalid(f"{where}.path", path.path, f"a regular expression ({problem})")
        else:
            backend = self._backend(path.target, f"{where}.backend")
            yield Route(host, kind, path.path, backend, where)

    def _kind(self, path: Path) -> Kind:
        if path.type is PathType.EXACT:
            return Kind.EXACT
        regex = self.use_regex and path.type is PathType.IMPLEMENTATION_SPECIFIC
        return Kind.REGEX if regex else Kind.PREFIX

    def _backend(self, target: Target, where: str) -> str:
        if isinstance(target, ResourceTarget):
            what = f"resource backend {target.kind} {target.name}"
            self._problem(Why.UNSUPPORTED, where, f"{what}: not supported, answers 404")
            return NOT_FOUND
        service = self.view.service(self.ingress.meta.namespace, target.service)
        port = _port(service, target.port)
        if service is None or port is None:
            named = "port to choose by itself" if target.port is None else f"port {target.port}"
            missing = f"has no {named}" if service else "does not exist"
            what = f"Service {target.service} {missing}; answers 503"
            self._problem(Why.BACKEND_NOT_FOUND, where, what)
            return UNAVAILABLE
        if refusal := _refusal(service, port):
            self._problem(Why.UNSUPPORTED, where, f"{refusal}; answers 503")
            return UNAVAILABLE
        self.needs.append(need := _need(service, port))
        return need.name

    def _invalid(self, where: str, value: str, allowed: str) -> None:
        shown = value if len(value) <= 80 else value[:77] + "..."
        self._problem(Why.INVALID, where, f"{shown!r} is not allowed; allowed: {allowed}; ignored")

    def _problem(self, why: Why, where: str, message: str) -> None:
        self.diagnostics.append(Diagnostic(self.ingress.ref, why, where, message))


def _need(service: Service, port: ServicePort) -> Need:
    common = (service.meta.namespace, service.meta.name, port.port, port.name)
    if service.type == "ExternalName":
        return Need(*common, _external_name(service), EXTERNAL_PROFILE)
    return Need(*common)


def _external_name(service: Service) -> str:
    return service.external_name.lower().removesuffix(".")


def _refusal(service: Service, port: ServicePort) -> str:
    """Why a port that is there cannot be a backend, or empty."""
    if port.protocol != "TCP":
        return f"port {port.port} is {port.protocol}, not TCP"
    if len(service.meta.name) > _MAX_SERVICE:
        return f"the name of the Service is longer than {_MAX_SERVICE} characters"
    if service.type == "ExternalName":
        name = _external_name(service)
        if not name or name.startswith("*") or not valid_host(name):
            return "spec.externalName is no DNS name"
    return ""


def _port(service: Service | None, wanted: int | str | None) -> ServicePort | None:
    """The Service port of that number or name; the only one when none is named."""
    if service is None:
        return None
    if wanted is None:
        return service.ports[0] if len(service.ports) == 1 else None
    matching = [port for port in service.ports if wanted in (port.name, port.port)]
    if matching:  # TCP and UDP may share a number
        return min(matching, key=lambda port: port.protocol != "TCP")
    if isinstance(wanted, str) and wanted.isdecimal():
        return _port(service, int(wanted))
    # An ExternalName needs to list no ports: the number is that of the far end.
    if service.type == "ExternalName" and isinstance(wanted, int):
        return ServicePort(wanted)
    return None


def _length(kind: Kind, path: str) -> int:
    return len(path if kind is Kind.REGEX else normalised(path))


def _regex_problem(pattern: str) -> str:
    # It must stand by itself: unbalanced parentheses would let it out of its host. Where Python
    # and PCRE2 disagree about what is inside a set, they disagree about what is balanced.
    if _CONTROL.search(pattern):
        return "control characters; write an escape such as \\t"
    if _POSIX_CLASS.search(pattern):
        return "a POSIX class such as [:alpha:]; write the characters, or \\d, \\s, \\w"
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return ""
