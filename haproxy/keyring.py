"""Certificates and the lines of crt-lists: the steps from one set to another.

A certificate comes before the lines that serve it and goes after them. A renewed one keeps its
name: one transaction, and open connections go on with the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from haproxy.model import Certificate, Config, Served
from haproxy.ops import (
    AddCertificate,
    AddServed,
    DelCertificate,
    DelServed,
    Op,
    Reason,
    SetCertificate,
    Step,
)

MAX_PEM_BYTES = 14_000  # with its command below HAProxy's buffer; a larger one needs a reload


def settable(certificate: Certificate) -> bool:
    """Whether the Runtime API can carry it."""
    return len(certificate.pem.encode()) <= MAX_PEM_BYTES


def too_large(running: Config, desired: Config, names: Iterable[str]) -> Iterator[Reason]:
    """Why a reload: certificates that only a file can hold."""
    for name in sorted(names):
        new = desired.certificates.get(name)
        if new and running.certificates.get(name) != new and not settable(new):
            yield Reason(f"certificate {name}", "size", None, f"over {MAX_PEM_BYTES} bytes")


def certificates(running: Config, desired: Config, names: Iterable[str]) -> Iterator[Step]:
    """New and renewed certificates."""
    for name in sorted(names):
        old, new = running.certificates.get(name), desired.certificates.get(name)
        if new is None or new == old or not settable(new):
            continue
        op: Op = SetCertificate(new) if old else AddCertificate(new)
        yield _step(op, f"certificate {name}", old and old.fingerprint, new.fingerprint, new)


def served(running: Config, desired: Config, name: str, keys: Iterable[str]) -> Iterator[Step]:
    """New lines of the crt-list *name*, of certificates that are there."""
    old, new = running.crt_lists[name].served, desired.crt_lists[name].served
    for key in sorted(keys):
        if key in new and key not in old and _there(running, desired, new[key].certificate):
            yield _step(AddServed(name, new[key]), f"crt-list {name}", None, key, new[key])


def no_longer_served(
    running: Config, desired: Config, name: str, keys: Iterable[str]
) -> Iterator[Step]:
    """Lines of the crt-list *name* that go."""
    old, new = running.crt_lists[name].served, desired.crt_lists[name].served
    for key in sorted(keys):
        if key in old and key not in new:
            yield _step(DelServed(name, old[key]), f"crt-list {name}", key, None, old[key])


def gone(running: Config, desired: Config, names: Iterable[str]) -> Iterator[Step]:
    """Certificates that go."""
    for name in sorted(names):
        old = running.certificates.get(name)
        if old and name not in desired.certificates:
            yield _step(DelCertificate(name), f"certificate {name}", old.fingerprint, None, old)


def _there(running: Config, desired: Config, name: str) -> bool:
    return name in running.certificates or (
        name in desired.certificates and settable(desired.certificates[name])
    )


def _step(op: Op, subject: str, before: object, after: object, of: Certificate | Served) -> Step:
    what = "line" if isinstance(of, Served) else "fingerprint"
    return Step(op, Reason(subject, what, before, after, origin=of.origin))
