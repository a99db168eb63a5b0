"""spec.tls of one Ingress: which certificate for which server name, and which hosts are secure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import field, frozen

from haproxy.model import Certificate
from haproxy_ingress.diagnostics import Diagnostic, Level, Why
from haproxy_ingress.resources import Ingress, Tls
from haproxy_ingress.routing import valid_host
from haproxy_ingress.store import View

DEFAULT_CERTIFICATE = "certs/_default.pem"
CRT_LIST = "certs/list.txt"


@frozen
class Wish:
    """A certificate for a server name. where: the field that asks, for messages."""

    host: str
    certificate: Certificate
    algorithm: str
    where: str


@frozen
class Security:
    """What an Ingress asks for: certificates, and hosts whose plain requests are redirected."""

    wishes: tuple[Wish, ...] = ()
    hosts: frozenset[str] = frozenset()


@frozen
class _Work:
    ingress: Ingress
    view: View
    diagnostics: list[Diagnostic] = field(factory=list)

    def wishes(self, rule_hosts: tuple[str, ...]) -> Iterator[Wish]:
        for number, tls in enumerate(self.ingress.tls):
            where = f"spec.tls[{number}]"
            hosts = tuple(self._hosts(tls, where)) if tls.hosts else rule_hosts
            if not hosts:
                self._say(where, "no host to serve it for, here or in the rules; not served")
            elif tls.secret:
                yield from self._certificate(tls.secret, hosts, where)

    def _hosts(self, tls: Tls, where: str) -> Iterator[str]:
        for index, host in enumerate(tls.hosts):
            if host and valid_host(host.lower()):
                yield host.lower()
            else:
                allowed = "a DNS name, or *. and one"
                self._say(f"{where}.hosts[{index}]", f"not a host; allowed: {allowed}; ignored")

    def _certificate(self, secret: str, hosts: Iterable[str], where: str) -> Iterator[Wish]:
        field_ = f"{where}.secretName"
        pair = self.view.key_pair(self.ingress.meta.namespace, secret)
        if pair is None:
            problem = "does not exist, or is not of type kubernetes.io/tls"
            self._say(field_, f"Secret {secret} {problem}; the default certificate serves")
            return
        if pair.problem:
            level = Level.WARNING if pair.certificate else Level.ERROR
            self._say(field_, f"Secret {secret}: {pair.problem}", level)
        if pair.certificate:
            for host in dict.fromkeys(hosts):
                yield Wish(host, pair.certificate, pair.algorithm, where)

    def _say(self, where: str, message: str, level: Level = Level.ERROR) -> None:
        why = Why.CERTIFICATE_INVALID
        self.diagnostics.append(Diagnostic(self.ingress.ref, why, where, message, level))


def read_tls(
    ingress: Ingress, rule_hosts: tuple[str, ...], view: View
) -> tuple[Security, tuple[Diagnostic, ...]]:
    """What spec.tls asks for. rule_hosts: the hosts of the rules, for an entry without any.

    A host is secure when an entry names it or the wildcard that covers it, whether there is a
    certificate for it or not: what was to be encrypted is not served in the clear.
    """
    work = _Work(ingress, view)
    wishes = tuple(work.wishes(tuple(host for host in rule_hosts if host)))
    named = {host.lower() for tls in ingress.tls for host in tls.hosts or rule_hosts}
    secure = (host for host in rule_hosts if host in named or _wildcard(host) in named)
    return Security(wishes, frozenset(secure)), tuple(work.diagnostics)


def _wildcard(host: str) -> str:
    return "*." + host.partition(".")[2]
