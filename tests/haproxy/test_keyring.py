"""Certificates and lines of crt-lists: the table of what is done, and in which order."""

from __future__ import annotations

import pytest
from attrs import evolve

from haproxy.capabilities import Capabilities
from haproxy.commands import conversation, lines
from haproxy.keyring import MAX_PEM_BYTES
from haproxy.model import Certificate, Config, CrtList, Served
from haproxy.ops import (
    AddCertificate,
    AddServed,
    DelCertificate,
    DelServed,
    Op,
    Result,
    SetCertificate,
)
from haproxy.plan import plan
from haproxy.tables import certificate_names, crt_list_lines, fingerprint
from haproxy.verdicts import Status, judge

LIST = "certs/list.txt"
A = Certificate("certs/a.pem", "pem of a\n", "AA")
A2 = evolve(A, pem="pem of a, renewed\n", fingerprint="A2")
B = Certificate("certs/b.pem", "pem of b\n", "BB")
BIG = evolve(B, pem="x" * MAX_PEM_BYTES + "\n")
V2_6 = Capabilities((2, 6))


def serving(*served: tuple[Certificate, str], also: tuple[Certificate, ...] = ()) -> Config:
    """A configuration of certificates, each for a name, and others that no name has."""
    made = [Served(one.name, sni) for one, sni in served]
    return Config(
        certificates={one.name: one for one in (*(one for one, _ in served), *also)},
        crt_lists={LIST: CrtList(LIST, "certs/_default.pem", {one.key: one for one in made})},
    )


def line(of: Certificate, sni: str = "a.test") -> Served:
    return Served(of.name, sni)


@pytest.mark.parametrize(
    ("running", "desired", "ops"),
    [
        pytest.param(serving((A, "a.test")), serving((A, "a.test")), [], id="in step"),
        pytest.param(
            serving(),
            serving((A, "a.test")),
            [AddCertificate(A), AddServed(LIST, line(A))],
            id="new: the certificate first",
        ),
        pytest.param(
            serving((A, "a.test")), serving((A2, "a.test")), [SetCertificate(A2)], id="renewed"
        ),
        pytest.param(
            serving((A, "a.test")),
            serving(),
            [DelServed(LIST, line(A)), DelCertificate(A.name)],
            id="gone: the certificate last",
        ),
        pytest.param(
            serving((A, "a.test")),
            serving((B, "a.test")),
            [
                *(AddCertificate(B), AddServed(LIST, line(B))),
                *(DelServed(LIST, line(A)), DelCertificate(A.name)),
            ],
            id="replaced: never without",
        ),
        pytest.param(
            serving((A, "a.test"), (B, "b.test")),
            serving((B, "a.test"), (A, "b.test")),
            [
                *(AddServed(LIST, line(A, "b.test")), AddServed(LIST, line(B))),
                *(DelServed(LIST, line(A)), DelServed(LIST, line(B, "b.test"))),
            ],
            id="exchanged",
        ),
        pytest.param(
            serving(also=(A,)), serving(), [DelCertificate(A.name)], id="left over from before"
        ),
    ],
)
def test_steps(running: Config, desired: Config, ops: list[Op]) -> None:
    found = plan(running, desired, V2_6)
    assert (list(found.ops), found.reload) == (ops, ())


class TestTooLarge:
    """What no command can carry comes with a reload; until then all stays as it is."""

    def test_a_name_keeps_its_certificate(self) -> None:
        found = plan(serving((A, "a.test")), serving((BIG, "a.test")), V2_6)
        assert found.ops == ()
        assert [str(one) for one in found.reload] == [
            f"certificate certs/b.pem: size over {MAX_PEM_BYTES} bytes added"
        ]

    def test_other_names_do_not_wait(self) -> None:
        running = serving((A, "a.test"), (A, "b.test"))
        desired = serving((BIG, "a.test"), (A2, "c.test"))
        assert plan(running, desired, V2_6).ops == (
            SetCertificate(A2),
            AddServed(LIST, line(A, "c.test")),
            DelServed(LIST, line(A, "b.test")),
        )

    def test_a_renewal(self) -> None:
        found = plan(serving((B, "b.test")), serving((BIG, "b.test")), V2_6)
        assert found.ops == ()
        assert len(found.reload) == 1


def test_a_new_crt_list_needs_a_reload() -> None:
    assert plan(Config(), serving(), V2_6).reload


def test_only_what_comes_is_asked_for_by_someone() -> None:
    """Or else somebody would be blamed for what is removed."""
    of = evolve(A, origin="secret a")
    config = evolve(serving((of, "a.test")), certificates={A.name: of})
    coming, going = plan(serving(), config, V2_6), plan(config, serving(), V2_6)
    assert [step.reason.origin for step in coming.steps] == ["secret a", None]
    assert [step.reason.origin for step in going.steps] == [None, None]


PAYLOAD = "set ssl cert certs/a.pem <<\npem of a\n"
SUCCESS = "Committing certs/a.pem\nSuccess!"
CREATED = "Transaction created for certificate certs/a.pem!"
WEAK = (
    "Inserting certificate 'certs/a.pem' in crt-list 'certs/list.txt'.\nunable to load SSL "
    "certificate into SSL Context 'certs/a.pem': ee key too small.\nFailed!"
)
SHOWN = "# certs/list.txt\ncerts/d.pem:1 !*\ncerts/a.pem:2 b.test\ncerts/a.pem:4 a.test"


@pytest.mark.parametrize(
    ("op", "talk", "status"),
    [
        pytest.param(
            AddCertificate(A),
            [
                ("new ssl cert certs/a.pem", "New empty certificate store 'certs/a.pem'!"),
                (PAYLOAD, CREATED),
                ("commit ssl cert certs/a.pem", SUCCESS),
            ],
            "done",
            id="new",
        ),
        pytest.param(
            SetCertificate(A),
            [(PAYLOAD, CREATED), ("commit ssl cert certs/a.pem", SUCCESS)],
            "done",
            id="renewed",
        ),
        pytest.param(
            SetCertificate(A),
            [
                (PAYLOAD, "Transaction updated for certificate certs/z.pem!"),
                ("abort ssl cert certs/z.pem", "Transaction aborted for certificate ..."),
                (PAYLOAD, CREATED),
                ("commit ssl cert certs/a.pem", SUCCESS),
            ],
            "done",
            id="a transaction left open, 2.6",
        ),
        pytest.param(
            SetCertificate(A),
            [
                (
                    PAYLOAD,
                    "The ongoing transaction is about 'certs/z.pem' but you are ...\nCan't ...!",
                ),
                ("abort ssl cert certs/z.pem", "Transaction aborted for certificate ..."),
                (PAYLOAD, CREATED),
                ("commit ssl cert certs/a.pem", SUCCESS),
            ],
            "done",
            id="a transaction left open, 3.0",
        ),
        pytest.param(
            SetCertificate(A),
            [
                (PAYLOAD, "Transaction updated for certificate certs/a.pem!"),
                ("commit ssl cert certs/a.pem", SUCCESS),
            ],
            "done",
            id="one of its own left open",
        ),
        pytest.param(
            AddCertificate(A),
            [
                ("new ssl cert certs/a.pem", "New empty certificate store 'certs/a.pem'!"),
                (PAYLOAD, "unable to load ...\nCan't load the payload\nCan't update certs/a.pem!"),
                ("abort ssl cert certs/a.pem", "No ongoing transaction!"),
                ("del ssl cert certs/a.pem", "Certificate 'certs/a.pem' deleted!"),
            ],
            "refused",
            id="refused, and nothing of it stays",
        ),
        pytest.param(
            SetCertificate(A),
            [
                (PAYLOAD, CREATED),
                (
                    "commit ssl cert certs/a.pem",
                    "Committing certs/a.pem\nunable to load SSL private key ...\nFailed!",
                ),
                ("abort ssl cert certs/a.pem", "No ongoing transaction!"),
            ],
            "refused",
            id="not committed, 3.4",
        ),
        pytest.param(
            AddServed(LIST, line(A)),
            [("add ssl crt-list certs/list.txt <<\ncerts/a.pem a.test\n", WEAK)],
            "refused",
            id="too weak to be served",
        ),
        pytest.param(
            DelServed(LIST, line(A)),
            [
                ("show ssl crt-list -n certs/list.txt", SHOWN),
                (
                    "del ssl crt-list certs/list.txt certs/a.pem:4",
                    "Entry 'certs/a.pem' deleted in crtlist 'certs/list.txt'!",
                ),
            ],
            "done",
            id="a line among several of its certificate",
        ),
        pytest.param(
            DelServed(LIST, line(B)),
            [("show ssl crt-list -n certs/list.txt", SHOWN)],
            "done",
            id="a line that is gone already",
        ),
        pytest.param(
            DelCertificate(A.name),
            [
                (
                    "del ssl cert certs/a.pem",
                    "Can't remove the certificate: certificate '...' in use, can't be deleted!",
                )
            ],
            "busy",
            id="still in use",
        ),
    ],
)
def test_talk(op: Op, talk: list[tuple[str, str]], status: Status) -> None:
    """Replies as HAProxy gave them."""
    rounds, sent = conversation([op]), []
    replies: tuple[str, ...] | None = None
    expected = dict(enumerate(talk))
    try:
        while True:
            (command,) = rounds.send(replies) if replies else next(rounds)
            sent.append(command)
            replies = (expected[len(sent) - 1][1],)
    except StopIteration as end:
        (result,) = end.value
    assert sent == [command for command, _ in talk]
    assert isinstance(result, Result)
    assert (result.op, result.status) == (op, status)


def test_a_name_that_could_be_more_than_a_word_is_not_sent() -> None:
    for name in ("certs/a b.pem", "certs/a;.pem", "certs/a.pem <<"):
        (result,) = finished(DelCertificate(name))
        assert result.status == "refused"


def finished(op: Op) -> tuple[Result, ...]:
    try:
        next(conversation([op]))
    except StopIteration as end:
        results: tuple[Result, ...] = end.value
        return results
    raise AssertionError("something was sent")


def test_the_payload_of_a_command_is_not_in_the_result() -> None:
    assert A.pem.strip() not in repr(Result(AddCertificate(A)))
    assert A.pem.strip() in lines(AddCertificate(A))[1]


@pytest.mark.parametrize(
    ("command", "reply", "status"),
    [
        ("new ssl cert certs/a.pem", "Certificate 'certs/a.pem' already exists!", "done"),
        ("commit ssl cert certs/a.pem", "No ongoing transaction! !\nCan't commit x!", "refused"),
        (
            "add ssl crt-list certs/list.txt <<",
            "Can't edit the crt-list: certificate 'certs/a.pem' does not exist!",
            "refused",
        ),
        ("del ssl cert certs/a.pem", "Certificate 'certs/a.pem' deleted!", "done"),
    ],
)
def test_verdicts(command: str, reply: str, status: Status) -> None:
    assert judge(command, reply) == status


def test_what_haproxy_shows() -> None:
    assert certificate_names("# transaction\n*a.pem\n# filename\nb.pem\nc.pem\n") == (
        "b.pem",
        "c.pem",
    )
    assert fingerprint("Serial: 01\nSHA1 FingerPrint: 00FF\nSubject: /CN=x") == "00FF"
    assert fingerprint("Filename: x\nStatus: Empty") == ""
    shown = "# certs/list.txt\nd.pem !*\na.pem [alpn h2\0] *.a.test\nb.pem\nc.pem c.test\0"
    assert crt_list_lines(shown) == (("a.pem", "*.a.test"), ("c.pem", "c.test"))
