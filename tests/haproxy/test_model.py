from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from haproxy.errors import InvalidValue
from haproxy.model import (
    Backend,
    Bind,
    Config,
    Frontend,
    Global,
    Line,
    Map,
    Profile,
    Resolvers,
    Row,
    Server,
    State,
    lines,
)
from haproxy.units import MAX_MS

WEB = Server("web-1", "10.0.0.1", 80)
NAMES = "1 to 255 of A-Z a-z 0-9 _ . : -"
TEXT = "text without control characters"
WHOLE = "words that are not empty"


@pytest.mark.parametrize(
    ("build", "field", "allowed"),
    [
        (lambda: evolve(WEB, name=""), "name", NAMES),
        (lambda: evolve(WEB, name="a b"), "name", NAMES),
        (lambda: evolve(WEB, name="a\n"), "name", NAMES),
        (lambda: evolve(WEB, name="ä"), "name", NAMES),
        (lambda: evolve(WEB, name="a" * 256), "name", NAMES),
        (lambda: evolve(WEB, address="localhost"), "address", "an IPv4 or IPv6 address"),
        (lambda: evolve(WEB, address="10.0.0.256"), "address", "an IPv4 or IPv6 address"),
        (lambda: evolve(WEB, address="fe80::1%eth0"), "address", NAMES),
        (lambda: Backend("a/b", "p"), "name", NAMES),
        (lambda: Backend("a", "p q"), "profile", NAMES),
        (lambda: Frontend("a b", ()), "name", NAMES),
        (lambda: Frontend("a", (), default_backend="b\n"), "default_backend", TEXT),
        (lambda: Resolvers("a b"), "name", NAMES),
        (lambda: Resolvers("dns", ("10.0.0.1:53\n",)), "nameservers", TEXT),
        (lambda: Resolvers("dns", ("",)), "nameservers", WHOLE),
        (lambda: Bind("0.0.0.0 x", 80), "address", NAMES),
        (lambda: Bind("*", 80, ("ssl\x00",)), "options", TEXT),
        (lambda: Bind("*", 80, ("name", "")), "options", WHOLE),
        (lambda: Line(()), "words", "1 to 64 words"),
        (lambda: Line(("a",) * 65), "words", "1 to 64 words"),
        (lambda: Line(("deny", "", "if")), "words", WHOLE),
        (lambda: Line(("a\nb",)), "words", TEXT),
        (lambda: Line(("a\x7f",)), "words", TEXT),
        (lambda: Line(("\ud800",)), "words", TEXT),
        (lambda: Profile(balance="a\tb"), "balance", TEXT),
        (lambda: Profile(retry_on=()), "retry_on", "1 to 64 words"),
        (lambda: Profile(retry_on=("503", "")), "retry_on", WHOLE),
        (lambda: Profile(retry_on=("503\r",)), "retry_on", TEXT),
        (lambda: Row("a\nb"), "value", TEXT),
        (lambda: Row("\udfff"), "value", TEXT),
        (lambda: Map(""), "name", "a relative path of A-Z a-z 0-9 _ . / -"),
        (lambda: Map("/etc/x"), "name", "a relative path of A-Z a-z 0-9 _ . / -"),
        (lambda: Map("a b"), "name", "a relative path of A-Z a-z 0-9 _ . / -"),
        (lambda: Global(runtime_socket="/run/\x1b"), "runtime_socket", TEXT),
    ],
)
def test_a_refusal_names_the_field_and_what_is_allowed(
    build: Callable[[], object], field: str, allowed: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        build()
    assert (caught.value.field, caught.value.allowed) == (field, allowed)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: evolve(WEB, port=0), "port"),
        (lambda: evolve(WEB, port=65_536), "port"),
        (lambda: evolve(WEB, weight=-1), "weight"),
        (lambda: evolve(WEB, weight=257), "weight"),
        (lambda: evolve(WEB, id=-1), "id"),
        (lambda: evolve(WEB, id=2**31), "id"),
        (lambda: Bind("*", 0), "port"),
        (lambda: Bind("*", 65_536), "port"),
        (lambda: Profile(balance=""), "balance"),
        (lambda: Profile(connect_timeout_ms=0), "connect_timeout_ms"),
        (lambda: Profile(server_timeout_ms=MAX_MS + 1), "server_timeout_ms"),
        (lambda: Profile(tunnel_timeout_ms=MAX_MS + 1), "tunnel_timeout_ms"),
        (lambda: Profile(queue_timeout_ms=-1), "queue_timeout_ms"),
        (lambda: Profile(retries=101), "retries"),
        (lambda: Frontend("f", (), client_timeout_ms=0), "client_timeout_ms"),
        (lambda: Frontend("f", (), http_request_timeout_ms=2**31), "http_request_timeout_ms"),
        (lambda: Frontend("f", (), keep_alive_timeout_ms=0), "keep_alive_timeout_ms"),
        (lambda: Global(maxconn=-1), "maxconn"),
        (lambda: Global(fd_limit=-1), "fd_limit"),
        (lambda: Global(threads=65), "threads"),
        (lambda: Global(hard_stop_after_ms=0), "hard_stop_after_ms"),
        (lambda: Global(max_reloads=0), "max_reloads"),
    ],
)
def test_a_number_out_of_bounds_is_refused_by_the_name_of_its_field(
    build: Callable[[], object], field: str
) -> None:
    with pytest.raises(ValueError, match=f"'{field}'"):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Server("a.b_c:d-9", "::1", 65_535, weight=256, state=State.MAINT, id=2**31 - 1),
        lambda: Server("s", "0.0.0.0", 1, weight=0),
        lambda: Line(("a",) * 64),
        lambda: Line(("'\"$%[#\\ ä 日本",)),
        lambda: Bind("*", 80),
        lambda: Bind("::", 443, ("v4v6",)),
        lambda: Profile(server_timeout_ms=MAX_MS, retries=0),
        lambda: Map("maps/hosts.map"),
        lambda: Row("{} \\ ' \" # ä"),
        Config,
    ],
)
def test_what_is_within_bounds_is_taken(build: Callable[[], object]) -> None:
    assert build() == build()


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("10.0.0.1", "10.0.0.1"), ("FD00:0::1", "fd00::1"), ("0:0:0:0:0:0:0:0", "::")],
)
def test_an_address_is_kept_as_haproxy_shows_it(written: str, canonical: str) -> None:
    assert evolve(WEB, address=written).address == canonical


def test_fixed_text_becomes_lines_of_words_split_as_a_shell_does() -> None:
    text = """
        http-request deny if { path -m sub '#' }

        http-request set-header x "a b"
    """
    assert lines(text) == (
        Line(("http-request", "deny", "if", "{", "path", "-m", "sub", "#", "}")),
        Line(("http-request", "set-header", "x", "a b")),
    )


def test_the_name_of_a_profile_is_a_function_of_its_content() -> None:
    assert Profile().name == Profile().name
    assert Profile().name.startswith("p-")
    variants = [
        Profile(),
        Profile(retries=3),
        Profile(rules=lines("a b")),
        Profile(rules=lines("'a b'")),
        Profile(rules=lines("a b\na")),
    ]
    assert len({profile.name for profile in variants}) == len(variants)


def test_who_asked_takes_no_part_in_comparisons() -> None:
    assert Row("a", origin="x") == Row("a", origin="y", needs=("b",))
    assert Backend("b", "p", origins=("x",)) == Backend("b", "p")
