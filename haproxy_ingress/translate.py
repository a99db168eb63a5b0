"""One Ingress, seen through a View, as a Fragment: its routes and the backends they need.

A fragment never reads EndpointSlices: the members of a backend are a translation of their own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

from attrs import evolve, field, frozen

from haproxy.errors import InvalidValue
from haproxy.model import Certificate, Profile, lines
from haproxy_ingress.annotations import read_annotations
from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.naming import NOT_FOUND, UNAVAILABLE, backend_name
from haproxy_ingress.protocols import spoken
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
from haproxy_ingress.tls import DEFAULT_CERTIFICATE, Security, read_tls

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
    empty for the Service's first one. https_port: 0 for none. default_certificate: for server names
    that have none; see `haproxy_ingress.self_signed`. public_https_port: what redirects name.
    nameservers: ``ADDRESS:PORT``, empty for resolv.conf's. trusted_proxies: networks whose senders
    are believed. proxy_protocol: every client speaks it.
    """

    ingress_class: str = "haproxy"
    controller_name: str = "haproxy-ingress.io/controller"
    without_class: bool = False
    default_backend: tuple[str, str, str] | None = None
    bind_addresses: tuple[str, ...] = ("*", "::")
    http_port: int = 8080
    https_port: int = 0
    public_https_port: int = 443
    default_certificate: Certificate | None = None
    default_tls_secret: tuple[str, str] | None = None
    nameservers: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False
    runtime_socket: str = ""

    def __attrs_post_init__(self) -> None:
        if self.https_port and self.default_certificate is None:
            raise InvalidValue("https_port", str(self.https_port), "0 without default_certificate")


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
    server_options: tuple[str, ...] = ()

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
    security: Security = field(factory=Security)
    diagnostics: tuple[Diagnostic, ...] = ()
    default_certificate: Certificate | None = None


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
    hosts = tuple(dict.fromkeys(route.host for route in routes))
    served = ingress if settings.https_port else evolve(ingress, tls=())
    security, found = read_tls(served, hosts, view)
    return Fragment(
        ingress.ref,
        ingress.meta.age,
        routes,
        tuple(dict.fromkeys(work.needs)),
        security,
        (*work.diagnostics, *found),
    )


def default_fragment(view: View, settings: Settings) -> Fragment | None:
    """The fragment of the daemon's own wishes: the last resort of routes and of certificates."""
    found: list[Diagnostic] = []
    need = _default_need(view, settings, found)
    certificate = _default_certificate(view, settings, found)
    if not (need or certificate or found):
        return None
    wanted = (need,) if need else ()
    where = "--default-backend-service"
    routes = tuple(Route("", Kind.LAST, "", one.name, where) for one in wanted)
    ref = found[0].ref if found else Ref("", "", "")
    return Fragment(
        ref, routes=routes, needs=wanted, diagnostics=tuple(found), default_certificate=certificate
    )


def _default_need(view: View, settings: Settings, found: list[Diagnostic]) -> Need | None:
    if settings.default_backend is None:
        return None
    namespace, name, wanted = settings.default_backend
    ref = Ref("Service", namespace, name)
    service = view.service(namespace, name)
    number = wanted or (service.ports[0].port if service and service.ports else "")
    port = _port(service, int(number) if str(number).isdecimal() else number)
    if service is None or port is None:
        missing = f"the default backend has no port {number}" if service else "no such Service"
        found.append(Diagnostic(ref, Why.BACKEND_NOT_FOUND, "spec.ports", missing))
        return None
    if refusal := _refusal(service, port):
        found.append(Diagnostic(ref, Why.UNSUPPORTED, "spec", refusal))
        return None
    if unknown := _unsupported(service, port):
        found.append(Diagnostic(ref, Why.UNSUPPORTED, "spec.ports", unknown, Level.WARNING))
    return _need(service, port)


def _default_certificate(
    view: View, settings: Settings, found: list[Diagnostic]
) -> Certificate | None:
    if settings.default_tls_secret is None or not settings.https_port:
        return None
    namespace, name = settings.default_tls_secret
    pair = view.key_pair(namespace, name)
    if pair is None or pair.problem:
        problem = pair.problem if pair else "no such Secret of type kubernetes.io/tls"
        ref = Ref("Secret", namespace, name)
        found.append(Diagnostic(ref, Why.CERTIFICATE_INVALID, "data", problem))
    if pair is None or pair.certificate is None:
        return None
    return evolve(pair.certificate, name=DEFAULT_CERTIFICATE)


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
        need = _need(service, port)
        if need not in self.needs and (unknown := _unsupported(service, port)):
            self._problem(Why.UNSUPPORTED, where, unknown, Level.WARNING)
        self.needs.append(need)
        return need.name

    def _invalid(self, where: str, value: str, allowed: str) -> None:
        shown = value if len(value) <= 80 else value[:77] + "..."
        self._problem(Why.INVALID, where, f"{shown!r} is not allowed; allowed: {allowed}; ignored")

    def _problem(self, why: Why, where: str, text: str, level: Level = Level.ERROR) -> None:
        self.diagnostics.append(Diagnostic(self.ingress.ref, why, where, text, level))


def _need(service: Service, port: ServicePort) -> Need:
    common = (service.meta.namespace, service.meta.name, port.port, port.name)
    options, _ = spoken(port.app_protocol)
    if service.type == "ExternalName":
        return Need(*common, _external_name(service), EXTERNAL_PROFILE, options)
    return Need(*common, server_options=options)


def _unsupported(service: Service, port: ServicePort) -> str:
    """What we do not do about the protocol of a port, or empty."""
    _, problem = spoken(port.app_protocol)
    what = f"appProtocol {port.app_protocol} of port {port.port} of Service {service.meta.name}"
    return f"{what} {problem}" if problem else ""


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
