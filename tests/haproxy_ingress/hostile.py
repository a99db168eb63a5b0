"""Texts that would like to be more than text, and putting them anywhere in an object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import attrs
from hypothesis import strategies as st

Place = tuple[Any, ...]

NASTY = (
    *("%[env(HOME)]", "%[var(txn.host)]", "%%", "$HOME", "${HOME}", "`id`", "$(id)", "\\", "\\\\"),
    *("-f /etc/passwd", "-f", "--", "-m reg", "'", '"', "''", "'\\''", " #", "#", "#0x1", "@1"),
    *("{", "}", "{ path / }", "[", "]", "]:80", ";", "; show info", "\\;", "<<", " <<", "<<x", "|"),
    *("a b", " ", "\t", "\n", "\r", "\r\n", "\n\n", "\x00", "\x0b", "\x0c", "\x7f", "\x85"),
    *("\u2028", "\u2029", "\u00a0", "\u202e", "\ufeff", "\ud800", "\U0001f600", "\u00fc.test"),
    *("../../etc/passwd", "../x", "/", "//", "/#", "*", "*.", ".", "..", "*.*.test", "a.test/x"),
    *("a\nbackend evil", "/x\n  server evil 1.2.3.4:80", "x if TRUE", "unless FALSE", "global"),
    *("/x{ alias /var/run/secrets/kubernetes.io/serviceaccount/; }", "/a\nroot /var/run/secrets"),
    *("/$1; return 200 x", "https://x;}location /z{return 200 pwn;", "CN=abc #(\n){}\n }}"),
    *("http://a/#;}\nssl_engine ../x", "invalid_uid!@#$%", "12345 67890", "valu\ne2", "new\rline"),
    *("(a+)+$", "/)|.*", "(?", "[[:alpha:]", "\\Qa", "\\", "(?#", "x" * 300, "/" + "y" * 3000),
    *(" ".join("w" * 70), "_404", "_503", "a_b", "A", "-a", "a-", "", "true", "null", "0", "-1"),
)  # fmt: skip

texts = (
    st.sampled_from(NASTY)
    | st.text(max_size=20)
    | st.text("aA0.*/\\'\"#%${}[]()<>;:@-_ \t\r\n\x00\u2028\ud800", max_size=12)
    | st.tuples(st.sampled_from(["a", "/", "a.test", "*."]), st.sampled_from(NASTY)).map("".join)
    | st.tuples(st.sampled_from(NASTY), st.sampled_from(["a", "/", ".test"])).map("".join)
)


def parts(value: Any) -> Iterator[tuple[Any, Any]]:
    """What *value* directly holds, by key; for resources as for JSON."""
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif attrs.has(type(value)):
        yield from ((one.name, getattr(value, one.name)) for one in attrs.fields(type(value)))


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Where *value* has anything, itself first."""
    yield above
    for key, part in parts(value):
        yield from places(part, (*above, key))


def at(value: Any, place: Place) -> Any:
    for key in place:
        value = dict(parts(value))[key]
    return value


def put(value: Any, place: Place, new: Any) -> Any:
    """*value* with something else at *place*."""
    if not place:
        return new
    key, *rest = place
    part = put(dict(parts(value))[key], tuple(rest), new)
    if isinstance(value, Mapping):
        return {**value, key: part}
    if isinstance(value, list | tuple):
        return type(value)([*value[:key], part, *value[key + 1 :]])
    return attrs.evolve(value, **{key: part})


def renamed(value: Any, names: Mapping[Any, Any]) -> Any:
    """*value* with each text in *names* replaced wherever it stands, keys included."""
    if isinstance(value, Mapping):
        return {renamed(key, names): renamed(part, names) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(renamed(part, names) for part in value)
    if attrs.has(type(value)):
        return attrs.evolve(value, **{key: renamed(part, names) for key, part in parts(value)})
    if isinstance(value, str) and not isinstance(value, Enum):
        return names.get(value, value)
    return value


def words(value: Any) -> Iterator[str]:
    """Every text in *value*, keys included."""
    if isinstance(value, str) and not isinstance(value, Enum):
        yield value
    for key, part in parts(value):
        if isinstance(value, Mapping):
            yield from words(key)
        yield from words(part)
