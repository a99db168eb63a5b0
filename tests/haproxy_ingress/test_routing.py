"""Hosts and paths as the keys of map rows."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from haproxy_ingress.routing import Kind, chain, normalised, row_key, valid_host

HOSTS = ("", "a.test", "b.test", "x.a.test", "*.a.test", "*.test", "a.test.b.test")
PATHS = st.text(max_size=40).map("/{}".format)
TRICKY_PATHS = st.lists(
    st.sampled_from(
        ["/", "//", ".", "..", "%2e", "%2F", "%", "%2", "%25", "#", " ", "a", "é", "\n"]
    )
).map(lambda parts: "/" + "".join(parts))
LITERAL_KINDS = st.sampled_from([Kind.EXACT, Kind.PREFIX])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/foo", "/foo"),
        ("/foo/", "/foo/"),
        ("/Foo", "/Foo"),
        ("//foo///bar", "/foo/bar"),
        ("/./foo/./bar", "/foo/bar"),
        ("/foo/.", "/foo/"),
        ("/foo/..", "/"),
        ("/foo/../bar", "/bar"),
        ("/../../foo", "/foo"),
        ("/foo/...", "/foo/..."),
        ("/..foo", "/..foo"),
        ("/%66oo", "/foo"),
        ("/%7Euser", "/~user"),
        ("/%2e%2E/foo", "/foo"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%3bb", "/a%3Bb"),
        ("/%252e", "/%252e"),
        ("/100%", "/100%25"),
        ("/%zz", "/%25zz"),
        ("/a b", "/a%20b"),
        ("/a#b", "/a%23b"),
        ("/é", "/%C3%A9"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a\tb\x7f", "/a%09b%7F"),
        ("/[x];y=1,2&z!$'()*+@:", "/[x];y=1,2&z!$'()*+@:"),
    ],
)
def test_paths_that_are_equivalent_share_one_form(path: str, expected: str) -> None:
    assert normalised(path) == expected


@given(PATHS | TRICKY_PATHS)
@example("/%%32e")
def test_normalising_again_changes_nothing(path: str) -> None:
    assert normalised(normalised(path)) == normalised(path)


@pytest.mark.parametrize(
    ("host", "kind", "path", "key"),
    [
        ("a.test", Kind.EXACT, "/foo", "a.test/foo/#"),
        ("a.test", Kind.EXACT, "/foo/", "a.test/foo//#"),
        ("a.test", Kind.EXACT, "/", "a.test//#"),
        ("a.test", Kind.PREFIX, "/foo", "a.test/foo/"),
        ("a.test", Kind.PREFIX, "/foo/", "a.test/foo/"),
        ("a.test", Kind.PREFIX, "/", "a.test/"),
        ("*.a.test", Kind.PREFIX, "/", "*.a.test/"),
        ("", Kind.PREFIX, "/foo", "/foo/"),
        ("", Kind.EXACT, "/foo", "/foo/#"),
        ("a.test", Kind.DEFAULT, "", "a.test/"),
        ("", Kind.LAST, "", "/"),
        ("a.test", Kind.REGEX, "/v[0-9]+", r"^a\.test(?:/v[0-9]+)"),
        ("*.a.test", Kind.REGEX, "/x|/y", r"^\*\.a\.test(?:/x|/y)"),
        ("", Kind.REGEX, "/x", "^(?:/x)"),
        ("", Kind.REGEX, "/a b", r"^(?:/a\x20b)"),
        ("", Kind.REGEX, r"/a\ b", r"^(?:/a\x20b)"),
        ("", Kind.REGEX, r"/a\\ b", r"^(?:/a\\\x20b)"),
        ("", Kind.REGEX, r"/a\.b\\", r"^(?:/a\.b\\)"),
        ("", Kind.REGEX, "/a\tb", r"^(?:/a\x09b)"),
    ],
)
def test_the_key_of_a_row(host: str, kind: Kind, path: str, key: str) -> None:
    assert row_key(host, kind, path) == key


@given(st.sampled_from(HOSTS), st.sampled_from(Kind), PATHS | TRICKY_PATHS)
def test_a_key_fits_into_a_map(host: str, kind: Kind, path: str) -> None:
    key = row_key(host, kind, path)
    assert not re.search(r"[\x00-\x20\x7f]", key)
    assert not key.startswith("#")


@given(st.sampled_from(HOSTS), LITERAL_KINDS, PATHS | TRICKY_PATHS)
def test_the_host_of_a_key_is_all_before_the_first_slash(host: str, kind: Kind, path: str) -> None:
    assert row_key(host, kind, path).split("/")[0] == host


@given(
    st.sampled_from(HOSTS),
    st.sampled_from(HOSTS),
    st.sampled_from(Kind),
    st.sampled_from(Kind),
    PATHS | TRICKY_PATHS,
    PATHS | TRICKY_PATHS,
)
def test_no_two_hosts_share_a_key(
    host: str, other: str, kind: Kind, other_kind: Kind, path: str, other_path: str
) -> None:
    assume(host != other)
    assert row_key(host, kind, path) != row_key(other, other_kind, other_path)


@given(st.sampled_from(HOSTS), PATHS | TRICKY_PATHS, PATHS | TRICKY_PATHS)
def test_a_prefix_is_never_an_exact_path(host: str, path: str, other: str) -> None:
    assert row_key(host, Kind.PREFIX, path) != row_key(host, Kind.EXACT, other)


@given(PATHS | TRICKY_PATHS)
def test_a_request_for_an_exact_path_begins_with_its_prefix_row(path: str) -> None:
    """One look-up of the longest beginning finds either; the Exact row is the longer one."""
    asked = f"a.test{normalised(path)}/#"
    assert asked == row_key("a.test", Kind.EXACT, path)
    assert asked.startswith(row_key("a.test", Kind.PREFIX, path))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a.test",
        "localhost",
        "*.a.test",
        "*.test",
        "1.2.3.4",
        "xn--bcher-kva.test",
        "a-b.c0",
        "a" * 63 + ".test",
        ".".join(["a"] * 127),
    ],
)
def test_hosts_that_a_rule_may_have(host: str) -> None:
    assert valid_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "*",
        "*.",
        "a.*.test",
        "*a.test",
        "*.*.test",
        "a.test.",
        ".a.test",
        "a..test",
        "-a.test",
        "a-.test",
        "a_b.test",
        "A.test",
        "a.test:80",
        "a.test/x",
        "a b",
        "bücher.test",
        "a\n",
        "[::1]",
        "a" * 64 + ".test",
        "a." * 127 + "test",
        "#",
        "^a",
    ],
)
def test_hosts_that_no_rule_may_have(host: str) -> None:
    assert not valid_host(host)


def test_the_chain_never_depends_on_objects() -> None:
    assert chain() == chain()
