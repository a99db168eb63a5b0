"""Maps, certificates and crt-lists of a `FakeHAProxy`, in HAProxy's words.

Every text here was seen on 2.6.12, 3.0.11, 3.2.26 and 3.4.7, and is compared with a real HAProxy's
by tests/integration/test_double.py. A map has no two rows of one key here; HAProxy would show both
and use the first.
"""

from __future__ import annotations

from haproxy.errors import InvalidValue
from haproxy.fake import NO_EDIT, UNKNOWN_MAP
from haproxy.fake_worker import Commands, Worker
from haproxy.model import Certificate, CrtList, Row, Served
from haproxy.ops import (
    AddCertificate,
    AddRow,
    AddServed,
    DelCertificate,
    DelRow,
    DelServed,
    ReplaceMap,
    SetCertificate,
    SetRow,
)

COMMANDS = Commands()

_USAGE = "'{} map' expects three parameters: map identifier, key and value."
_NOT_REFERENCED = (
    "Can't replace a certificate which is not referenced by the configuration!\nCan't update {}!"
)
_COLONS = "preceded by colons"
_NOT_SHOWN = "Can't display the certificate: Not found or the certificate is a bundle!"


# Maps.


def _versioned(words: list[str]) -> tuple[int | None, list[str]]:
    """The version that ``@N`` names, and the other words."""
    if words and words[0].startswith("@"):
        return int(words[0][1:]), words[1:]
    return None, words


def _draft(worker: Worker, name: str, version: int) -> dict[str, Row] | None:
    return worker.drafts.get(name, {}).get(version)


@COMMANDS.named("show map")
def _(worker: Worker, words: list[str], _: str) -> str:
    version, names = _versioned(words)
    if not names:
        return "\n".join(["# id (file) description", *_maps(worker)])
    if names[0] not in worker.haproxy.config.maps:
        return UNKNOWN_MAP
    rows = worker.haproxy.config.maps[names[0]].rows
    if version is not None:
        rows = _draft(worker, names[0], version) or {}
    return "\n".join(f"0x{id(row):x} {key} {row.value}" for key, row in rows.items())


def _maps(worker: Worker) -> list[str]:
    shown = []
    for number, (name, of) in enumerate(worker.haproxy.config.maps.items()):
        current, following = worker.versions.get(name, (0, 0))
        shown.append(
            f"{number} ({name}) pattern loaded from file '{name}' used by map at file "
            f"'haproxy.cfg' line 1. curr_ver={current} next_ver={following} "
            f"entry_cnt={len(of.rows)}"
        )
    return shown


@COMMANDS.named("add map")
def _(worker: Worker, words: list[str], payload: str) -> str:
    version, (name, *pair) = _versioned(words)
    if payload:
        rows = [(key, value) for key, _, value in map(_parted, payload.splitlines())]
    elif len(pair) >= 2:
        rows = [(pair[0], pair[1])]
    else:
        return "'add map' expects three parameters (map identifier, key and value) or one parameter"
    if name not in worker.haproxy.config.maps:
        return UNKNOWN_MAP
    if version is None:
        for key, value in rows:
            _add_row(worker, name, key, value)
        return ""
    draft = _draft(worker, name, version)
    if draft is None:
        return "Version number in the future, please use 'prepare map' before."
    for key, value in rows:
        draft.setdefault(key, Row(value))
    return ""


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def _add_row(worker: Worker, name: str, key: str, value: str) -> None:
    if key not in worker.haproxy.config.maps[name].rows:
        worker.do(AddRow(name, key, value))


@COMMANDS.named("set map")
def _(worker: Worker, words: list[str], _: str) -> str:
    return worker.do(SetRow(*words[:3])) if len(words) > 2 else _USAGE.format("set")


@COMMANDS.named("del map")
def _(worker: Worker, words: list[str], _: str) -> str:
    return worker.do(DelRow(*words[:2]))


@COMMANDS.named("prepare map")
def _(worker: Worker, words: list[str], _: str) -> str:
    name = words[0]
    if name not in worker.haproxy.config.maps:
        return UNKNOWN_MAP
    current, following = worker.versions.get(name, (0, 0))
    worker.versions[name] = (current, following + 1)
    worker.drafts.setdefault(name, {})[following + 1] = {}
    return f"New version created: {following + 1}"


@COMMANDS.named("commit map")
def _(worker: Worker, words: list[str], _: str) -> str:
    version, (name, *_rest) = _versioned(words)
    rows = _draft(worker, name, version or 0)
    if version is None or rows is None:
        return "Version number out of range."
    following = worker.versions[name][1]
    worker.versions[name] = (version, following)
    drafts = worker.drafts[name]
    worker.drafts[name] = {other: drafts[other] for other in drafts if other > version}
    return worker.do(ReplaceMap(name, rows))


@COMMANDS.named("clear map")
def _(worker: Worker, words: list[str], _: str) -> str:
    version, (name, *_rest) = _versioned(words)
    if name not in worker.haproxy.config.maps:
        return UNKNOWN_MAP
    if version is None:
        return worker.do(ReplaceMap(name, {}))
    worker.drafts.get(name, {}).pop(version, None)
    return ""


# Certificates.


@COMMANDS.named("show ssl cert")
def _(worker: Worker, words: list[str], _: str) -> str:
    certificates = worker.haproxy.config.certificates
    if not words:
        open_one = [f"*{worker.transaction.name}"] if worker.transaction else []
        return "\n".join([*(["# transaction", *open_one] if open_one else []), "# filename",
                          *sorted(certificates)])  # fmt: skip
    if words[0] not in certificates:
        return _NOT_SHOWN
    return _shown(worker, certificates[words[0]])


def _uses(worker: Worker) -> list[str]:
    """Certificates, once for every line that has them."""
    lists = worker.haproxy.config.crt_lists.values()
    served = [one.certificate for of in lists for one in of.served.values()]
    return [of.default for of in lists] + served


def _shown(worker: Worker, certificate: Certificate) -> str:
    if not certificate.fingerprint:
        return f"Filename: {certificate.name}\nStatus: Empty"
    status = "Used" if certificate.name in _uses(worker) else "Unused"
    return (
        f"Filename: {certificate.name}\nStatus: {status}\n"
        f"SHA1 FingerPrint: {certificate.fingerprint}"
    )


@COMMANDS.named("new ssl cert")
def _(worker: Worker, words: list[str], _: str) -> str:
    name = words[0]
    if name in worker.haproxy.config.certificates:
        return f"Certificate '{name}' already exists!"
    empty = AddCertificate(Certificate(name, "", ""))
    return worker.do(empty, f"New empty certificate store '{name}'!")


@COMMANDS.named("set ssl cert")
def _(worker: Worker, words: list[str], payload: str) -> str:
    name, started = words[0], worker.transaction
    if name not in worker.haproxy.config.certificates:
        return _NOT_REFERENCED.format(name)
    if started and started.name != name and worker.version >= (3, 0):
        return f"{_ongoing(started, name)}\nCan't update {name}!"
    target = started.name if started else name
    try:
        worker.transaction = Certificate.of(target, payload)
    except InvalidValue:
        why = ": no start line" if worker.version >= (3, 0) else ""
        failed = f"unable to load certificate from file '{name}'{why}."
        return f"{failed}\nCan't load the payload\nCan't update {name}!"
    return f"Transaction {'updated' if started else 'created'} for certificate {target}!"


def _ongoing(started: Certificate, name: str) -> str:
    return f"The ongoing transaction is about '{started.name}' but you are trying to set '{name}'"


@COMMANDS.named("commit ssl cert")
def _(worker: Worker, words: list[str], _: str) -> str:
    name, started = words[0], worker.transaction
    if not started:
        return f"No ongoing transaction! !\nCan't commit {name}!"
    if started.name != name:
        return f"{_ongoing(started, name)}\nCan't commit {name}!"
    worker.transaction = None
    uses = "." * _uses(worker).count(name)
    return worker.do(SetCertificate(started), f"Committing {name}{uses}\nSuccess!")


@COMMANDS.named("abort ssl cert")
def _(worker: Worker, words: list[str], _: str) -> str:
    if not worker.transaction:
        return "No ongoing transaction!"
    worker.transaction = None
    return f"Transaction aborted for certificate '{words[0]}'!"


@COMMANDS.named("del ssl cert")
def _(worker: Worker, words: list[str], _: str) -> str:
    name = words[0]
    if name not in worker.haproxy.config.certificates:
        return f"Can't remove the certificate: certificate '{name}' doesn't exist!"
    return worker.do(DelCertificate(name), f"Certificate '{name}' deleted!")


# Lists of certificates.


@COMMANDS.named("show ssl crt-list")
def _(worker: Worker, words: list[str], _: str) -> str:
    numbered, names = words[:1] == ["-n"], [word for word in words if word != "-n"]
    if not names:
        return "\n".join(worker.haproxy.config.crt_lists)
    crt_list = worker.haproxy.config.crt_lists.get(names[0])
    if crt_list is None:
        return "didn't find the specified filename"
    file = worker.haproxy.published.get(names[0], b"").decode()
    filters = file.partition("\n")[0].removeprefix(crt_list.default)
    rows = [f"{crt_list.default}{':1' if numbered else ''}{filters}"]
    for served in crt_list.served.values():
        number = f":{_number(worker, crt_list, served)}" if numbered else ""
        rows.append(f"{served.certificate}{number} {served.sni}")
    return "\n".join([f"# {names[0]}", *rows])


def _number(worker: Worker, crt_list: CrtList, served: Served) -> int:
    """The line of the file, or after it; those that are gone leave a gap."""
    numbers = worker.numbers.setdefault(crt_list.name, {})
    for key in crt_list.served:
        numbers.setdefault(key, max(numbers.values(), default=1) + 1)
    return numbers[served.key]


@COMMANDS.named("add ssl crt-list")
def _(worker: Worker, words: list[str], payload: str) -> str:
    name, config = words[0], worker.haproxy.config
    if name not in config.crt_lists:
        return f"{NO_EDIT} crt-list '{name}' does not exist!"
    rows = [line.split() for line in payload.splitlines()] or [words[1:]]
    for certificate, *others in rows:
        found = config.certificates.get(certificate)
        if found and not found.fingerprint:
            return f"{NO_EDIT} certificate '{certificate}' is empty!"
        reply = worker.do(AddServed(name, Served(certificate, others[-1] if others else "")))
        if reply:
            return reply
    inserted = "\n".join(f"Inserting certificate '{row[0]}' in crt-list '{name}'." for row in rows)
    return f"{inserted}\nSuccess!"


@COMMANDS.named("del ssl crt-list")
def _(worker: Worker, words: list[str], _: str) -> str:
    name, (certificate, _colon, line) = words[0], words[1].partition(":")
    crt_list = worker.haproxy.config.crt_lists.get(name)
    if crt_list is None:
        return f"Can't delete the entry: crt-list '{name}' does not exist!"
    if certificate not in worker.haproxy.config.certificates:
        return f"Can't delete the entry: certificate '{certificate}' does not exist!"
    numbered = {
        _number(worker, crt_list, one): one
        for one in crt_list.served.values()
        if one.certificate == certificate
    }
    lines_of = [1] * (crt_list.default == certificate) + list(numbered)
    if len(lines_of) > 1 and not line:
        return _several(certificate, lines_of)
    matching = {n: one for n, one in numbered.items() if line in {"", str(n)}}
    if numbered and not matching:
        lines = ", ".join(map(str, numbered))
        found = f"Can't delete the entry: found a certificate '{certificate}' but the line number"
        return f"{found} is incorrect, please specify a correct line number {_COLONS} ({lines})!"
    return _delete(worker, crt_list, certificate, matching)


def _several(certificate: str, numbers: list[int]) -> str:
    several = f"Can't delete the entry: found the certificate '{certificate}' in several entries"
    lines = ", ".join(map(str, numbers))
    return f"{several}, please specify a line number {_COLONS} ({lines})!"


def _delete(
    worker: Worker, crt_list: CrtList, certificate: str, matching: dict[int, Served]
) -> str:
    for number, served in matching.items():
        del worker.numbers[crt_list.name][served.key]
        worker.numbers[crt_list.name][f"gone {number}"] = number
        done = f"Entry '{certificate}' deleted in crtlist '{crt_list.name}'!"
        return worker.do(DelServed(crt_list.name, served), done)
    if crt_list.default == certificate:
        default = "cannot be deleted, it is used as default certificate by the following frontends:"
        return f"Can't delete the entry: certificate '{certificate}' {default}\n\t- haproxy.cfg:1"
    where = f"can't be found in crt-list '{crt_list.name}'!"
    return f"Can't delete the entry: certificate '{certificate}' {where}"
