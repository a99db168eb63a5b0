"""Certificates in memory: shown, renewed, new ones and those that go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from attrs import frozen

from haproxy.calls.channel import Channel, ask, settle, tell
from haproxy.capabilities import Feature
from haproxy.errors import BatchFailed, CommandRejected, HAProxyError, UnreadableReply
from haproxy.tables import certificate_names
from haproxy.words import file_word

_OF = re.compile(r"[Tt]ransaction (?:created|updated) for \w+ (.*)!")
_DATE = "%b %d %H:%M:%S %Y GMT"


@frozen
class CertificateShown:
    """One certificate as HAProxy describes it; empty or None for what an empty one has not.

    status: such as Used, Unused or Empty. names: subject alternative names, without type.
    fingerprint: SHA-1, in upper case and without colons. chain: subjects of what follows it.
    """

    name: str
    status: str
    serial: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    subject: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()
    algorithm: str = ""
    fingerprint: str = ""
    chain: tuple[str, ...] = ()


@frozen
class ServedName:
    """One line of ``show ssl sni`` (3.2). bind: where, such as ``front/:443``. negative: a name
    that is excluded. type: of the key.
    """

    bind: str
    name: str
    negative: str
    type: str
    certificate: str


@frozen
class Certificates:
    """Certificates, by the file name that the configuration or a crt-list gives them.

    HAProxy has one transaction at a time; callers take turns. Nothing is written to files.
    """

    _channel: Channel

    def names(self) -> tuple[str, ...]:
        return certificate_names(ask(self._channel, "show ssl cert"))

    def show(self, name: str) -> CertificateShown:
        return certificate_shown(ask(self._channel, f"show ssl cert {file_word(name)}"))

    def served_names(self) -> tuple[ServedName, ...]:
        """Which certificate answers to which name (3.2)."""
        self._channel.can.require(Feature.SERVED_NAMES)
        return served_names(ask(self._channel, "show ssl sni"))

    def new(self, name: str) -> None:
        """An empty one, to be filled by `replace`; one that exists already stays as it is."""
        tell(self._channel, f"new ssl cert {file_word(name)}")

    def set(self, name: str, pem: str) -> None:
        """Open a transaction with a certificate, its chain and its key.

        Raises `InvalidValue` when it is larger than this version takes; `CommandRejected` when
        another certificate's transaction is open.
        """
        begin(self._channel, f"set ssl cert {file_word(name)}", name, pem)

    def commit(self, name: str) -> None:
        """Serve what was `set`; connections that are open go on with the old one."""
        tell(self._channel, f"commit ssl cert {file_word(name)}")

    def abort(self, name: str) -> None:
        """Give the transaction up; that there is none is no error."""
        tell(self._channel, f"abort ssl cert {file_word(name)}")

    def replace(self, name: str, pem: str) -> None:
        """`set` and `commit`. When HAProxy refuses, the old one stays and no transaction is open.

        When the connection breaks in between, one may be: `abort` gives it up.
        """
        self.set(name, pem)
        try:
            self.commit(name)
        except (CommandRejected, BatchFailed):
            give_up(self._channel, f"abort ssl cert {file_word(name)}")
            raise

    def delete(self, name: str) -> None:
        """Refused while a crt-list has it. What is gone already is done."""
        tell(self._channel, f"del ssl cert {file_word(name)}")


def begin(channel: Channel, command: str, name: str, pem: str) -> None:
    """Open a transaction for *name*.

    2.6 puts what was meant for one file into the open transaction of another, and says so; what
    it has taken then is given up with that transaction.
    """
    reply = channel.run((f"{command} <<\n{payload(pem)}",))[0]
    match = _OF.search(reply)
    if match and match[1] != name:
        kind = " ".join(command.split()[1:3])
        give_up(channel, f"abort {kind} {file_word(match[1])}")
        raise CommandRejected(f"{command} <<", reply)
    settle((command,), (reply,))


def give_up(channel: Channel, command: str) -> None:
    """What went wrong before says more than what goes wrong here."""
    try:
        channel.run((command,))
    except HAProxyError:
        return


def payload(pem: str) -> str:
    """Full lines, none of them empty: not every version could tell those from its end."""
    rows = (row.rstrip() for row in pem.replace("\r", "\n").split("\n"))
    return "".join(f"{row}\n" for row in rows if row)


def certificate_shown(text: str) -> CertificateShown:
    """Read the answer to ``show ssl cert FILE``: ``Name: value`` a line.

    Raises `UnreadableReply` without file name or status, or for dates of another form.
    """
    return next(described(text, "show ssl cert"))


def described(text: str, command: str) -> Iterator[CertificateShown]:
    """The certificates in *text*: of one file, or one to each ``Certificate #N:``."""
    head, *parts = re.split(r"^Certificate #\d+:\n", text, flags=re.MULTILINE)
    common = _pairs(head)
    for part in parts or [""]:
        yield _shown(common | _pairs(part), command)


def _pairs(text: str) -> dict[str, str]:
    rows = (line.partition(":") for line in text.split("\n") if ":" in line)
    return {name.strip(): value.strip() for name, _, value in rows}


def _shown(row: dict[str, str], command: str) -> CertificateShown:
    if not row.get("Filename") or not row.get("Status"):
        raise UnreadableReply(command, "no file name or no status")
    names = row.get("Subject Alternative Name", "").split(", ")
    chain = row.get("Chain Subject", "")
    return CertificateShown(
        name=row["Filename"].removeprefix("*"),
        status=row["Status"],
        serial=row.get("Serial", ""),
        not_before=_date(row.get("notBefore", ""), command),
        not_after=_date(row.get("notAfter", ""), command),
        subject=row.get("Subject", ""),
        issuer=row.get("Issuer", ""),
        names=tuple(name.partition(":")[2] for name in names if ":" in name),
        algorithm=row.get("Algorithm", ""),
        fingerprint=row.get("SHA1 FingerPrint", ""),
        chain=(chain,) if chain else (),
    )


def _date(text: str, command: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(" ".join(text.split()), _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise UnreadableReply(command, "a date of another form") from None


def served_names(text: str) -> tuple[ServedName, ...]:
    """Read the answer to ``show ssl sni``: a ``#`` line, then columns between tabs.

    Raises `UnreadableReply`.
    """
    rows = (line.split("\t") for line in text.split("\n") if line and line[0] != "#")
    return tuple(_served_name(row) for row in rows)


def _served_name(row: list[str]) -> ServedName:
    if len(row) < 5:
        raise UnreadableReply("show ssl sni", "a line with too few columns")
    bind, name, negative, kind, certificate = row[:5]
    return ServedName(bind, name, negative.removeprefix("-"), kind, certificate)
