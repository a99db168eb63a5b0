"""What every kind of setting accepts and refuses, and what a declaration makes of it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from haproxy_ingress import grammars
from haproxy_ingress.grammars import (
    ADDRESS,
    ADDRESS_PORT,
    BIND_ADDRESS,
    BOOL,
    CHOICE,
    CIDR,
    DOMAIN_PATH,
    DURATION,
    DURATION_MS,
    INT,
    MANY,
    NAME,
    NAMESPACED,
    NAMESPACED_PORT,
    OBJECT_NAME,
    OPTIONAL,
    PATH,
    PORT,
    TEXT,
    URL_PATH,
    Grammar,
    GrammarError,
)
from haproxy_ingress.settings import Knob, Problem, knob, knobs, read

ACCEPTED = [
    (BOOL, "1", True),
    (BOOL, "t", True),
    (BOOL, "T", True),
    (BOOL, "TRUE", True),
    (BOOL, "true", True),
    (BOOL, "True", True),
    (BOOL, "0", False),
    (BOOL, "f", False),
    (BOOL, "F", False),
    (BOOL, "FALSE", False),
    (BOOL, "false", False),
    (BOOL, "False", False),
    (DURATION_MS, "0s", 0),
    (DURATION_MS, "250", 250),
    (DURATION_MS, "500ms", 500),
    (DURATION_MS, "30s", 30_000),
    (DURATION_MS, "5m", 300_000),
    (DURATION_MS, "1h", 3_600_000),
    (DURATION(1, 1_000), "1s", 1_000),
    (INT(0, 10), "0", 0),
    (INT(0, 10), "10", 10),
    (INT(-1, 1), "-1", -1),
    (NAME, "a", "a"),
    (NAME, "web-1", "web-1"),
    (NAME, "a" * 63, "a" * 63),
    (OBJECT_NAME, "a.b-c.d", "a.b-c.d"),
    (NAMESPACED, "default/web", ("default", "web")),
    (NAMESPACED, "kube-system/tls.example.com", ("kube-system", "tls.example.com")),
    (NAMESPACED_PORT, "default/web", ("default", "web", "")),
    (NAMESPACED_PORT, "default/web:80", ("default", "web", "80")),
    (NAMESPACED_PORT, "default/web:http", ("default", "web", "http")),
    (DOMAIN_PATH, "haproxy-ingress.io/controller", "haproxy-ingress.io/controller"),
    (ADDRESS, "10.0.0.1", "10.0.0.1"),
    (ADDRESS, "2001:DB8:0::1", "2001:db8::1"),
    (BIND_ADDRESS, "*", "*"),
    (BIND_ADDRESS, "::", "::"),
    (ADDRESS_PORT, "10.0.0.1:53", "10.0.0.1:53"),
    (ADDRESS_PORT, "[2001:DB8::1]:53", "[2001:db8::1]:53"),
    (CIDR, "10.0.0.0/8", "10.0.0.0/8"),
    (CIDR, "10.0.0.1", "10.0.0.1/32"),
    (CIDR, "2001:DB8::/32", "2001:db8::/32"),
    (CIDR, "0.0.0.0/0", "0.0.0.0/0"),
    (PORT, "1", 1),
    (PORT, "65535", 65535),
    (CHOICE("a", "b"), "b", "b"),
    (MANY(PORT), "", ()),
    (MANY(PORT), "80", (80,)),
    (MANY(PORT), "80, 81", (80, 81)),
    (OPTIONAL(PORT), "", None),
    (OPTIONAL(PORT), "80", 80),
    (PATH, "/etc/x", Path("/etc/x")),
    (URL_PATH, "/a/b?c", "/a/b?c"),
    (TEXT, "", ""),
    (TEXT, "grüße $(x)", "grüße $(x)"),
]

REFUSED = [
    (BOOL, ""),
    (BOOL, "yes"),
    (BOOL, "tRUE"),
    (BOOL, " true"),
    (DURATION_MS, ""),
    (DURATION_MS, "-1s"),
    (DURATION_MS, "1.5s"),
    (DURATION_MS, "5us"),
    (DURATION_MS, "25d"),
    (DURATION_MS, "1h30m"),
    (DURATION(1, 1_000), "0s"),
    (DURATION(1, 1_000), "2s"),
    (INT(0, 10), ""),
    (INT(0, 10), "11"),
    (INT(0, 10), "-1"),
    (INT(0, 10), "1_0"),
    (INT(0, 10), "+1"),
    (INT(0, 10), "٣"),
    (INT(0, 10), "1e1"),
    (NAME, ""),
    (NAME, "-a"),
    (NAME, "a-"),
    (NAME, "a.b"),
    (NAME, "A"),
    (NAME, "a\n"),
    (NAME, "a" * 64),
    (OBJECT_NAME, "a..b"),
    (OBJECT_NAME, ".".join(["a" * 63] * 4)),
    (NAMESPACED, "web"),
    (NAMESPACED, "/web"),
    (NAMESPACED, "default/"),
    (NAMESPACED, "a/b/c"),
    (NAMESPACED_PORT, "default/web:"),
    (NAMESPACED_PORT, "default/web:0"),
    (NAMESPACED_PORT, "default/web:70000"),
    (NAMESPACED_PORT, "default/web:80:81"),
    (DOMAIN_PATH, "controller"),
    (DOMAIN_PATH, "example.com/"),
    (DOMAIN_PATH, "/controller"),
    (DOMAIN_PATH, "example.com/a b"),
    (ADDRESS, "localhost"),
    (ADDRESS, "10.0.0"),
    (ADDRESS, "10.0.0.01"),
    (ADDRESS, "fe80::1%eth0"),
    (ADDRESS, "*"),
    (ADDRESS_PORT, "10.0.0.1"),
    (ADDRESS_PORT, "2001:db8::1:53"),
    (ADDRESS_PORT, "[10.0.0.1:53"),
    (ADDRESS_PORT, "10.0.0.1:0"),
    (ADDRESS_PORT, "dns:53"),
    (CIDR, ""),
    (CIDR, "10.0.0.1/8"),
    (CIDR, "10.0.0.0/33"),
    (CIDR, "fe80::%eth0/64"),
    (CIDR, "10.0.0.0/8 10.1.0.0/16"),
    (PORT, "0"),
    (PORT, "65536"),
    (CHOICE("a", "b"), "c"),
    (CHOICE("a", "b"), ""),
    (MANY(PORT), "80,,81"),
    (MANY(PORT), "80,x"),
    (OPTIONAL(PORT), "0"),
    (PATH, ""),
    (PATH, "/a\0b"),
    (URL_PATH, "a"),
    (URL_PATH, "/a b"),
    (URL_PATH, "/ä"),
    (TEXT, "a\nb"),
    (TEXT, "a\x7f"),
    (TEXT, "a\u2028b"),
]

ALL = [value for value in vars(grammars).values() if isinstance(value, Grammar)]


@pytest.mark.parametrize(("grammar", "text", "value"), ACCEPTED)
def test_accepted(grammar: Grammar[Any], text: str, value: object) -> None:
    assert grammar.parse(text) == value
    assert type(grammar.parse(text)) is type(value)


@pytest.mark.parametrize(("grammar", "text"), REFUSED)
def test_refused_with_what_is_allowed(grammar: Grammar[Any], text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        grammar.parse(text)
    assert caught.value.message
    assert f"allowed: {caught.value.allowed}" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_list_names_the_item_that_is_wrong() -> None:
    with pytest.raises(GrammarError, match=r"'x' is not allowed; allowed: a port, 1 to 65535$"):
        MANY(PORT).parse("80,x")


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(GrammarError) as caught:
        NAME.parse("A" * 1_000_000)
    assert len(str(caught.value)) < 200


@given(grammar=st.sampled_from(ALL), text=st.text())
def test_any_text_is_a_value_or_a_grammar_error(grammar: Grammar[Any], text: str) -> None:
    with suppress(GrammarError):
        grammar.parse(text)


@frozen
class Kitchen:
    """Settings of a kitchen."""

    use_gas: bool = knob("use-gas", BOOL, default="false", doc="Cook with gas.")
    ovens: int = knob("ovens", INT(1, 9), default="2", doc="How many ovens.")
    doors: tuple[int, ...] = knob("door", MANY(INT(1, 9)), default="", doc="Doors.")
    note: str = "not declared"


def test_nothing_given_is_the_defaults() -> None:
    assert read(Kitchen, {}) == (Kitchen(), ())
    assert Kitchen() == Kitchen(use_gas=False, ovens=2, doors=())


def test_values_are_read_by_key_and_keys_of_others_ignored() -> None:
    given = {"use-gas": "true", "door": "1,2", "window": "7", "note": "x"}
    assert read(Kitchen, given) == (Kitchen(use_gas=True, doors=(1, 2)), ())


def test_a_sequence_is_taken_item_by_item() -> None:
    assert read(Kitchen, {"door": ("1", "2")}) == (Kitchen(doors=(1, 2)), ())
    assert read(Kitchen, {"door": ("1,2",)})[1] == (
        Problem("door", "'1,2' is not allowed", "a whole number, 1 to 9"),
    )


def test_every_problem_is_reported_and_its_default_applies() -> None:
    kitchen, problems = read(Kitchen, {"use-gas": "maybe", "ovens": "0", "door": "3"})
    assert kitchen == Kitchen(doors=(3,))
    assert [problem.key for problem in problems] == ["use-gas", "ovens"]
    assert str(problems[1]) == "ovens: '0' is not allowed; allowed: a whole number, 1 to 9"


def test_the_declarations_are_the_reference() -> None:
    assert knobs(Kitchen)[0] == Knob("use-gas", BOOL, "false", "Cook with gas.", "use_gas")
    assert [declared.key for declared in knobs(Kitchen)] == ["use-gas", "ovens", "door"]


def test_a_default_that_its_grammar_refuses_is_found_at_import() -> None:
    with pytest.raises(GrammarError):
        knob("ovens", INT(1, 9), default="10", doc="")
