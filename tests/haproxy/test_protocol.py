from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.errors import InvalidValue, UnreadableReply
from haproxy.protocol import COMMAND_BYTES, WINDOW_BYTES, Exchange, encode, encode_all

ADD_MAP = "add map f <<\nk v\nk2 v\n"
COMMANDS = (
    "add server b/x 1.1.1.1:1",
    "enable server b/x",
    ADD_MAP,
    "del server b/x",
    "show map f",
)
REPLIES = ("New server registered.", "", "", "Server deleted.", "0x1 k v\n0x2 + > v ")

# Recorded; HAProxy differs in blank lines and in the prompts of payloads.
V2_6 = b"\n> New server registered.\n\n> \n> + + + \n> Server deleted.\n> 0x1 k v\n0x2 + > v \n\n> "
V3_0 = (
    b"\n> New server registered.\n\n> \n> + + + \n> Server deleted.\n\n> 0x1 k v\n0x2 + > v \n\n> "
)
V3_2 = b"\n> New server registered.\n\n> \n> \n> Server deleted.\n\n> 0x1 k v\n0x2 + > v \n\n> "
RECORDED = [
    pytest.param(V2_6, id="2.6"),
    pytest.param(V3_0, id="3.0"),
    pytest.param(V3_2, id="3.2 and 3.4"),
]


def exchanged(commands: tuple[str, ...], chunks: Iterable[bytes]) -> Exchange:
    exchange = Exchange(commands)
    exchange.to_send()
    for chunk in chunks:
        exchange.receive(chunk)
    return exchange


@pytest.mark.parametrize("recorded", RECORDED)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_replies_match_their_commands_in_any_chunking(recorded: bytes, size: int) -> None:
    chunks = (recorded[at : at + size] for at in range(0, len(recorded), size))
    exchange = exchanged(COMMANDS, chunks)
    assert exchange.done
    assert exchange.replies == REPLIES


@given(recorded=st.sampled_from([V2_6, V3_0, V3_2]), data=st.data())
def test_replies_match_wherever_the_bytes_are_cut(recorded: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, len(recorded) - 1), unique=True).map(sorted))
    chunks = [recorded[a:b] for a, b in pairwise([0, *cuts, len(recorded)])]
    assert exchanged(COMMANDS, chunks).replies == REPLIES


def test_every_prefix_answers_a_prefix_of_the_commands() -> None:
    for end in range(1, len(V3_2)):
        exchange = exchanged(COMMANDS, [V3_2[:end]])
        assert not exchange.done
        assert exchange.replies == REPLIES[: len(exchange.replies)]
        assert exchange.waiting_for in ("prompt", *(line.partition("\n")[0] for line in COMMANDS))


def test_end_of_file_in_the_middle_is_visible() -> None:
    exchange = exchanged(("show info", "show stat"), [b"\n> Name: HAProxy\n\n> # pxna", b""])
    assert exchange.ended
    assert not exchange.done
    assert exchange.replies == ("Name: HAProxy",)
    assert exchange.waiting_for == "show stat"


def test_a_payload_is_not_named() -> None:
    assert exchanged((ADD_MAP,), [b"\n> "]).waiting_for == "add map f <<"


def test_a_connection_is_opened_once() -> None:
    assert Exchange(("show info",)).to_send() == b"prompt\nshow info\n"
    exchange = Exchange(("show info",), opens=False)
    assert exchange.to_send() == b"show info\n"
    exchange.receive(b"Pid: 1\n\n> ")
    assert exchange.replies == ("Pid: 1",)


def test_nothing_to_say_is_done_when_the_connection_is_open() -> None:
    assert Exchange((), opens=False).done
    assert Exchange(()).waiting_for == "prompt"


@pytest.mark.parametrize(
    "surplus",
    [
        pytest.param(b"\n> one\n\n> two\n\n> ", id="a reply too many"),
        pytest.param(b"\n> one\n\n> tw", id="a part of one"),
    ],
)
def test_more_replies_than_commands_are_noticed(surplus: bytes) -> None:
    with pytest.raises(UnreadableReply, match="more replies than commands"):
        exchanged(("show info",), [surplus])


def test_a_reply_to_what_was_not_sent_is_noticed() -> None:
    with pytest.raises(UnreadableReply):
        Exchange(("show info",)).receive(b"\n> ")


def test_bytes_that_are_no_text_stay_readable() -> None:
    assert exchanged(("show map f",), [b"\n> 0x1 k \xff\n\n> "]).replies == ("0x1 k \\xff",)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=200))
def test_haproxy_always_has_room_for_what_is_sent(sizes: list[int]) -> None:
    commands = tuple("x" * size for size in sizes)
    exchange, sent, answered = Exchange(commands), bytearray(), 0
    while not exchange.done:
        chunk = exchange.to_send()
        assert chunk or answered < sent.count(b"\n")
        sent += chunk
        outstanding = b"".join(sent.splitlines(keepends=True)[answered:])
        assert len(outstanding) <= WINDOW_BYTES
        exchange.receive(b"\n> ")
        answered += 1
    assert bytes(sent) == b"prompt\n" + b"".join(encode(command) for command in commands)


def test_a_command_larger_than_the_window_goes_alone() -> None:
    large = "x" * (WINDOW_BYTES + 1)
    exchange = Exchange((large, "y"), opens=False)
    assert exchange.to_send() == large.encode() + b"\n"
    assert exchange.to_send() == b""
    exchange.receive(b"\n> ")
    assert exchange.to_send() == b"y\n"


@pytest.mark.parametrize(
    ("command", "data"),
    [
        pytest.param("show info", b"show info\n", id="a line"),
        pytest.param(ADD_MAP, b"add map f <<\nk v\nk2 v\n\n", id="a payload ends by an empty line"),
        pytest.param(r"set map f k a\;b", b"set map f k a\\;b\n", id="an escaped semicolon"),
        pytest.param(r"set map f k a\<\<", b"set map f k a\\<\\<\n", id="no payload"),
    ],
)
def test_encode(command: str, data: bytes) -> None:
    assert encode(command) == data


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("", id="empty"),
        pytest.param("  ", id="blank"),
        pytest.param("prompt", id="leaves prompt mode"),
        pytest.param("quit", id="closes the connection"),
        pytest.param("show info;show stat", id="two commands"),
        pytest.param(r"show info\\;show stat", id="the backslash is escaped, not the semicolon"),
        pytest.param("show info\nshow stat", id="two lines"),
        pytest.param("show info\n", id="a newline of its own"),
        pytest.param("show info\r", id="a control character"),
        pytest.param("add map f <<", id="a payload that never comes"),
        pytest.param("add map f <<END", id="a payload with another end"),
        pytest.param("add map f <<\n", id="an empty payload"),
        pytest.param("add map f <<\nk v", id="a payload without its newline"),
        pytest.param("add map f <<\nk v\n\ndel map f k\n", id="a command behind the payload"),
        pytest.param("add map f <<\n\ndel map f k\n", id="a command instead of the payload"),
        pytest.param("add map f <<\nk v\n\r\ndel map f k\n", id="a line that only looks full"),
        pytest.param("x" * COMMAND_BYTES, id="too long"),
        pytest.param("add map f <<\n" + "k v\n" * 4000, id="too long a payload"),
        pytest.param("set map f k \udc80", id="no Unicode"),
    ],
)
def test_what_would_not_be_answered_once_is_refused(command: str) -> None:
    with pytest.raises(InvalidValue):
        Exchange((command,))


def test_a_refusal_does_not_show_values() -> None:
    with pytest.raises(InvalidValue) as caught:
        encode("set map users.map jane s3cret;x")
    assert "s3cret" not in str(caught.value)


TEXTS = st.one_of(
    st.sampled_from(
        ["show info", "prompt", "quit", "prompts", "wait 1s", "", " ", ADD_MAP, "a <<"]
    ),
    st.text(st.sampled_from("aZ0 ;<\\\n\x00\x7f#@é%[]"), max_size=8),
    st.integers(COMMAND_BYTES - 2, COMMAND_BYTES + 1).map(lambda size: "x" * size),
)


def each(commands: tuple[str, ...]) -> tuple[bytes, list[int]] | None:
    """As one by one; None when one cannot be sent."""
    try:
        encoded = [encode(command) for command in commands]
    except InvalidValue:
        return None
    return b"".join(encoded), list(map(len, encoded))


@given(st.lists(TEXTS, max_size=4).map(tuple))
def test_many_are_encoded_as_each_is(commands: tuple[str, ...]) -> None:
    expected = each(commands)
    if expected is None:
        with pytest.raises(InvalidValue):
            encode_all(commands)
    else:
        assert encode_all(commands) == expected
