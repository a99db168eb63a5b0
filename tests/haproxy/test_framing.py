"""Whatever a version says and however its bytes arrive: one reply to each command."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.errors import UnreadableReply
from haproxy.protocol import Exchange
from haproxy.verdicts import judge
from tests.haproxy.recorded import COMMANDS, VERSIONS, raw, text

NAMES = tuple(name for name in COMMANDS if name != "prompt")
SMALL_BYTES = 400


def pipelined(version: str, limit_bytes: int) -> tuple[str, ...]:
    """What is sent without waiting in between; `wait` makes the client wait too."""
    return tuple(n for n in NAMES if n != "wait" and len(raw(version, n)) < limit_bytes)


def exchanged(names: tuple[str, ...], chunks: list[bytes]) -> Exchange:
    """What is sent is sent as far as the replies make room for it."""
    exchange = Exchange(tuple(COMMANDS[name] for name in names))
    while exchange.to_send():
        pass
    for chunk in chunks:
        exchange.receive(chunk)
        while exchange.to_send():
            pass
    return exchange


def whole(version: str, names: tuple[str, ...]) -> list[bytes]:
    return [raw(version, "prompt"), *(raw(version, name) for name in names)]


def expected(version: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_without_prompts(name, text(version, name)) for name in names)


def _without_prompts(name: str, reply: str) -> str:
    """Up to 3.0 HAProxy asks for every line of a payload."""
    return reply.lstrip("+ \n") if "\n" in COMMANDS[name] and reply.startswith("+ ") else reply


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 7, 1_000, 1_000_000])
def test_every_command_has_its_reply(version: str, size: int) -> None:
    exchange = Exchange(tuple(COMMANDS[name] for name in NAMES))
    feed(exchange, whole(version, NAMES), size)
    assert exchange.done
    assert exchange.replies == expected(version, NAMES)


def feed(exchange: Exchange, replies: list[bytes], size: int) -> None:
    """As HAProxy does: it answers what it was sent, in pieces of *size* bytes."""
    for reply in replies:
        while exchange.to_send():
            pass
        for at in range(0, len(reply), size):
            exchange.receive(reply[at : at + size])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cut_at_every_byte_changes_nothing(version: str) -> None:
    names = pipelined(version, SMALL_BYTES)[:30]
    data, replies = b"".join(whole(version, names)), expected(version, names)
    assert len(data) < 8_000
    for cut in range(1, len(data)):
        exchange = exchanged(names, [data[:cut], data[cut:]])
        assert exchange.done
        assert exchange.replies == replies


@pytest.mark.parametrize("version", VERSIONS)
def test_of_every_prefix_exactly_the_whole_replies_are_known(version: str) -> None:
    names = pipelined(version, SMALL_BYTES)[:30]
    parts = whole(version, names)
    data, ends, replies = (
        b"".join(parts),
        list(accumulate(map(len, parts))),
        expected(version, names),
    )
    for cut in range(1, len(data)):
        exchange = exchanged(names, [data[:cut], b""])
        complete = sum(end <= cut for end in ends)
        assert exchange.replies == replies[: max(0, complete - 1)]
        assert not exchange.done
        assert exchange.ended


@given(version=st.sampled_from(VERSIONS), data=st.data())
def test_replies_in_any_order_and_cut_anywhere(version: str, data: st.DataObject) -> None:
    small = pipelined(version, 2_000)
    names = tuple(data.draw(st.lists(st.sampled_from(small), min_size=1, max_size=12)))
    stream = b"".join(whole(version, names))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=20)))
    chunks = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    if sum(len(COMMANDS[name]) for name in names) < 4_000:  # all of it fits into one window
        assert exchanged(names, chunks).replies == expected(version, names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_reply_too_many_is_never_taken_for_another(version: str) -> None:
    stream = b"".join(whole(version, ("add-server", "del-server", "set-weight")))
    exchange = Exchange((COMMANDS["add-server"], COMMANDS["del-server"]))
    exchange.to_send()
    with pytest.raises(UnreadableReply, match="more replies than commands"):
        exchange.receive(stream)


NOTICE = b"[NOTICE]   (7) : New worker (8) forked\n\nServer web/s9 is DOWN.\n"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["add-server", "del-server", "set-address", "severity-del-server"])
def test_a_notice_in_front_makes_no_reply_and_hides_none(version: str, name: str) -> None:
    names = (name, "get-weight")
    first, *rest = whole(version, names)
    stream = first + NOTICE + b"".join(rest)
    exchange = exchanged(names, [stream])
    assert exchange.done
    assert judge(COMMANDS[name], exchange.replies[0]) == "done"
    assert exchange.replies[1] == text(version, "get-weight")


DONE = {
    *("add-server", "set-address", "set-weight", "get-weight", "del-server", "del-server-gone"),
    *("set-fqdn", "set-ssl", "add-map", "prepare-map", "commit-map", "set-table", "new-cert"),
    *("abort-cert-none", "del-cert", "del-cert-gone", "add-crt-list", "del-crt-list"),
    *("new-ca-file", "del-ca-file", "new-crl-file", "set-var", "severity-add-server"),
    *("severity-set-address", "severity-prepare-map", "severity-get-weight"),
    *("severity-del-server", "experimental-mode"),
}
DONE_3_4 = {"add-backend", "publish-backend", "unpublish-backend", "del-backend"}
REFUSED = {
    *("add-server-again", "set-weight-refused", "del-server-refused", "set-maxconn-refused"),
    *("set-map-none", "set-cert-refused", "commit-cert-none", "wait", "unknown-command"),
    *("severity-add-server-again", "severity-set-weight-refused", "severity-commit-cert-none"),
    *("severity-del-crt-list", "del-crt-list-default", "del-backend-refused"),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_replies_mean(version: str) -> None:
    done = DONE | (DONE_3_4 if version == "3.4" else set())
    refused = REFUSED | (DONE_3_4 if version != "3.4" else set())
    for name in sorted(done | refused):
        wanted = "done" if name in done else "refused"
        (reply,) = expected(version, (name,))
        assert judge(COMMANDS[name], reply) == wanted, (name, reply)
    assert judge(COMMANDS["del-cert-used"], text(version, "del-cert-used")) == "busy"
