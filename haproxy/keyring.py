"""Certificates and the lines of crt-lists: the steps from one set to another.

A certificate comes before the lines that serve it and goes after them; a name gets its new line
before the old one goes. A renewed certificate keeps its name: one transaction, and open connections
go on with the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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


def steps(
    running: Config, desired: Config, names: Iterable[str], lines: Mapping[str, frozenset[str]]
) -> tuple[list[Step], list[Step]]:
    """Steps of what comes, and of what goes.

    names: of the certificates that may differ. lines: keys that may differ, by crt-list.
    """
    coming = list(_certificates(running, desired, names))
    going: list[Step] = []
    staying: set[str] = set()
    for crt_list, keys in sorted(lines.items()):
        if crt_list in running.crt_lists and crt_list in desired.crt_lists:
            new, old = desired.crt_lists[crt_list].served, running.crt_lists[crt_list].served
            fresh = [new[key] for key in sorted(keys) if key in new and key not in old]
            stale = [old[key] for key in sorted(keys) if key in old and key not in new]
            ready = [one for one in fresh if _there(running, desired, one.certificate)]
            # A name is never without a certificate while the next one waits for a reload.
            waiting = {one.sni for one in fresh} - {one.sni for one in ready}
            coming += (_line(AddServed(crt_list, one), None, one) for one in ready)
            leaving = [one for one in stale if one.sni not in waiting]
            staying |= {one.certificate for one in stale if one.sni in waiting}
            going += (_line(DelServed(crt_list, one), one, None) for one in leaving)
    for name in sorted(names):
        old_one = running.certificates.get(name)
        if old_one and name not in desired.certificates and name not in staying:
            going.append(_certificate(DelCertificate(name), name, old_one, None))
    return coming, going


def _certificates(running: Config, desired: Config, names: Iterable[str]) -> Iterator[Step]:
    for name in sorted(names):
        old, new = running.certificates.get(name), desired.certificates.get(name)
        if new is not None and new != old and settable(new):
            op: Op = SetCertificate(new) if old else AddCertificate(new)
            yield _certificate(op, name, old, new)


def _there(running: Config, desired: Config, name: str) -> bool:
    return name in running.certificates or (
        name in desired.certificates and settable(desired.certificates[name])
    )


def _certificate(op: Op, name: str, old: Certificate | None, new: Certificate | None) -> Step:
    before, after = old and old.fingerprint, new and new.fingerprint
    origin = new.origin if new else None
    return Step(op, Reason(f"certificate {name}", "fingerprint", before, after, origin=origin))


def _line(op: AddServed | DelServed, old: Served | None, new: Served | None) -> Step:
    before, after = old and old.key, new and new.key
    origin = new.origin if new else None
    return Step(op, Reason(f"crt-list {op.crt_list}", "line", before, after, origin=origin))
