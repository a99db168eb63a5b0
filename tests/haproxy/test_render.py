from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TypeVar

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

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
from haproxy.render import CONFIG_FILE, MAX_ROW_BYTES, Renderer, map_file, quote, render

T = TypeVar("T")

HOSTS, REGEX = "maps/hosts.map", "maps/regex.map"
PROFILE = Profile(rules=lines("http-request deny if FALSE"))


def config(word: str = "word", origin: object = None) -> Config:
    """All that a configuration can have, with *word* wherever any text may stand."""
    profile = Profile(retry_on=(word, "503"), rules=(Line(("http-request", word)),))
    front = Frontend(
        "http",
        (Bind("*", 80, (word,)), Bind("::", 443)),
        (Line(("http-request", "set-header", "x", word)), Line((word, word))),
        default_backend=word,
    )
    servers = [Server("s1", "10.0.0.1", 80, id=1), Server("s2", "::1", 81, 5, State.MAINT, 2)]
    web = Backend("web", profile.name, {one.name: one for one in servers}, origins=("web",))
    fixed = Backend("fixed", PROFILE.name, lines=(Line(("http-request", "return", word)),))
    return Config(
        Global(f"/run/{word}", 100, 1_000, 4, experimental=True),
        (Resolvers("dns", (word, "10.0.0.2:53")), Resolvers("system")),
        {profile.name: profile, PROFILE.name: PROFILE},
        (front, Frontend("empty", (Bind("127.0.0.1", 1),))),
        {"web": web, "fixed": fixed},
        {HOSTS: Map(HOSTS, {"a": Row("web", origin), "b": Row("web")})},
    )


def text(of: Config) -> str:
    return render(of).files[CONFIG_FILE].decode()


def words(of: Config) -> list[list[str]]:
    """The configuration as HAProxy's parser splits it."""
    return [shlex.split(line, comments=True) for line in text(of).split("\n")]


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain-1.2/x_y", "plain-1.2/x_y"),
        ("%[req.hdr(host),lower]", "%[req.hdr(host),lower]"),
        ("{", "{"),
        ("", "''"),
        ("a b", "'a b'"),
        ("$HOME", "'$HOME'"),
        ("${HOME[*]}", "'${HOME[*]}'"),
        ('"$HOME"', "'\"$HOME\"'"),
        ("%[env(X)]", "%[env(X)]"),
        ("#no comment", "'#no comment'"),
        ("a#b", "'a#b'"),
        ("back\\slash", "'back\\slash'"),
        ("\\", "'\\'"),
        ("it's", "'it'\\''s'"),
        ("'", "''\\'''"),
        ("ä", "'ä'"),
        ("a;b&c", "'a;b&c'"),
    ],
)
def test_a_word_is_read_as_exactly_itself(word: str, quoted: str) -> None:
    assert quote(word) == quoted
    assert shlex.split(quoted, comments=True) == [word]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_any_word_is_read_as_exactly_itself(word: str) -> None:
    assert shlex.split(f"a {quote(word)} b", comments=True) == ["a", word, "b"]


def test_a_server_is_one_line() -> None:
    assert text(config()).split("\n\n")[-2] == "\n".join(
        [
            f"backend web from {config().backends['web'].profile}",
            "  server s1 10.0.0.1:80 id 1 weight 1",
            "  server s2 [::1]:81 id 2 weight 5 disabled",
        ]
    )


def test_options_are_on_each_server_line() -> None:
    servers = {
        "a": Server("a", "10.0.0.1", 80, id=1),
        "b": Server("b", "10.0.0.2", 80, 1, State.MAINT, 2),
    }
    desired = Config(backends={"b": Backend("b", "p", servers, server_options=("proto", "h2"))})
    assert "  server a 10.0.0.1:80 id 1 weight 1 proto h2\n" in text(desired)
    assert "  server b 10.0.0.2:80 id 2 weight 1 proto h2 disabled\n" in text(desired)


def test_a_draining_server_is_loaded_with_weight_0() -> None:
    server = Server("s", "10.0.0.1", 80, 7, State.DRAIN, 3)
    desired = Config(backends={"b": Backend("b", "p", {"s": server})})
    assert "  server s 10.0.0.1:80 id 3 weight 0\n" in text(desired)


def test_the_process_has_what_is_set_and_haproxys_defaults_for_the_rest() -> None:
    assert text(Config()) == (
        f"global\n  description '{render(Config()).description}'\n"
        "  default-path config\n  hard-stop-after 30s\n  mworker-max-reloads 4\n\n"
    )
    assert text(config()).split("\n\n")[0].split("\n")[2:] == [
        "  default-path config",
        "  stats socket /run/word mode 600 level admin",
        "  maxconn 100",
        "  fd-hard-limit 1000",
        "  nbthread 4",
        "  hard-stop-after 30s",
        "  mworker-max-reloads 4",
        "  expose-experimental-directives",
    ]


def test_frontends_stand_before_the_profiles() -> None:
    """A proxy that names no defaults section takes the last one before it."""
    sections = [line.split()[0] for line in text(config()).split("\n") if line[:1].strip()]
    assert sections == [
        *("global", "resolvers", "resolvers", "frontend", "frontend"),
        *("defaults", "defaults", "backend", "backend"),
    ]


def turn(one: Mapping[str, T]) -> dict[str, T]:
    return dict(reversed(list(one.items())))


def test_the_order_of_what_has_none_does_not_matter() -> None:
    one = config()
    web = one.backends["web"]
    turned = evolve(
        one,
        profiles=turn(one.profiles),
        backends={
            "web": evolve(web, servers=turn(web.servers)),
            "fixed": one.backends["fixed"],
        },
        maps={HOSTS: Map(HOSTS, turn(one.maps[HOSTS].rows))},
    )
    assert list(turned.backends) == sorted(turned.backends, reverse=True)
    assert render(turned).files == render(one).files
    assert list(render(turned).files) == list(render(one).files)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_no_text_changes_lines_sections_or_words(word: str) -> None:
    """Wherever any text may stand it is one word, and it is that text."""
    texts = {"word": word, "/run/word": f"/run/{word}"}
    expected = [[texts.get(one, one) for one in line] for line in words(config("word"))]
    assert nameless(words(config(word))) == nameless(expected)


def nameless(config: list[list[str]]) -> list[list[str]]:
    """Without the names of profiles, their order, and the description: hashes of the content."""
    config = [line for line in config if line[:1] != ["description"]]
    names = {line[1]: "profile" for line in config if line[:1] == ["defaults"]}
    assert len(names) == 2
    plain = [[names.get(one, one) for one in line] for line in config]
    first = plain.index(["defaults", "profile"])
    return plain[:first] + sorted(plain[first:])


@pytest.mark.parametrize(
    "bad",
    ["a\nb", "a\rb", "\0", "\x1b[m", "a\x7f", "\ud800"],
    ids=["LF", "CR", "NUL", "ESC", "DEL", "surrogate"],
)
def test_a_control_character_is_refused_wherever_any_text_may_stand(bad: str) -> None:
    with pytest.raises(InvalidValue, match="without control characters"):
        config(bad)


class TestOrigins:
    """Who asked for what HAProxy complains about."""

    CONFIG = Config(
        frontends=(Frontend("http", (Bind("*", 80),)),),
        profiles={PROFILE.name: PROFILE, Profile().name: Profile()},
        backends={
            "a": Backend("a", PROFILE.name, {"s": Server("s", "::1", 1, id=1)}, origins=("A",)),
            "b": Backend("b", PROFILE.name, origins=("B", "A")),
            "c": Backend("c", Profile().name, origins=("C",)),
            "ours": Backend("ours", Profile().name),
        },
        maps={
            HOSTS: Map(HOSTS, {"z": Row("1", "Z"), "y": Row("2", "Y"), "x": Row("3")}),
            REGEX: Map(REGEX, {"^z": Row("1", "Z"), "^y": Row("2", "Y")}, ordered=True),
        },
    )
    PLACES = (
        ("global", ()),
        ("  default-path config", ()),
        ("frontend http", ()),
        ("  bind *:80", ()),
        (f"defaults {PROFILE.name}", ("A", "B")),
        ("  http-request deny if FALSE", ("A", "B")),
        (f"defaults {Profile().name}", ()),
        (f"backend a from {PROFILE.name}", ("A",)),
        ("  server s [::1]:1 id 1 weight 1", ("A",)),
        (f"backend b from {PROFILE.name}", ("B", "A")),
        (f"backend c from {Profile().name}", ("C",)),
        (f"backend ours from {Profile().name}", ()),
    )

    @pytest.mark.parametrize(("line", "origins"), PLACES)
    @pytest.mark.parametrize("folder", ["", "gen-000001/", "/var/lib/x/current/"])
    def test_of_a_line(self, line: str, origins: tuple[str, ...], folder: str) -> None:
        rendered = render(self.CONFIG)
        number = rendered.files[CONFIG_FILE].decode().split("\n").index(line) + 1
        alert = f"[ALERT]    (12) : config : parsing [{folder}haproxy.cfg:{number}] : unknown"
        assert rendered.origins(alert) == origins

    @pytest.mark.parametrize(
        ("line", "name", "origins"),
        [
            pytest.param(1, HOSTS, (), id="x: nobody asked for it"),
            pytest.param(2, HOSTS, ("Y",), id="y"),
            pytest.param(3, HOSTS, ("Z",), id="z"),
            pytest.param(4, HOSTS, (), id="behind the end"),
            pytest.param(1, REGEX, ("Z",), id="first of an ordered map"),
            pytest.param(2, REGEX, ("Y",), id="second of an ordered map"),
            pytest.param(1, "maps/none.map", (), id="no map of ours"),
        ],
    )
    def test_of_a_map_row(self, line: int, name: str, origins: tuple[str, ...]) -> None:
        alert = f"config : regex '([' is invalid at line {line} of file '{name}'."
        assert render(self.CONFIG).origins(alert) == origins
        both = f"parsing [haproxy.cfg:1] : error detected : {alert}."
        assert render(self.CONFIG).origins(both) == origins

    def test_of_a_line_whose_text_pretends_to_be_a_place(self) -> None:
        rendered = render(self.CONFIG)
        line = f"backend a from {PROFILE.name}"
        number = rendered.files[CONFIG_FILE].decode().split("\n").index(line) + 1
        lie = f"parsing [haproxy.cfg:1] at line 2 of file '{HOSTS}'."
        alert = f"parsing [haproxy.cfg:{number}] : unknown keyword '{lie}' in 'a' section"
        assert rendered.origins(alert) == ("A",)

    @pytest.mark.parametrize(
        "alert",
        [
            "",
            "config : Error(s) found in configuration file : haproxy.cfg",
            "parsing [other.cfg:8] : unknown keyword",
            "parsing [haproxy.cfg:9999] : unknown keyword",
        ],
    )
    def test_of_no_place(self, alert: str) -> None:
        assert render(self.CONFIG).origins(alert) == ()


class TestMapFile:
    def test_has_a_row_a_line_in_the_order_of_the_keys(self) -> None:
        of = Map(HOSTS, {"b": Row("two words"), "a": Row("'\"#\\")})
        assert map_file(of) == b"a '\"#\\\nb two words\n"

    def test_keeps_an_order_that_counts(self) -> None:
        of = Map(REGEX, {"b": Row("1"), "a": Row("2")}, ordered=True)
        assert map_file(of) == b"b 1\na 2\n"

    @pytest.mark.parametrize("key", ["", "#a", "a b", "a\tb", "a\nb", "\x7f", "\ud800"])
    def test_refuses_a_key_that_would_be_read_as_another(self, key: str) -> None:
        with pytest.raises(InvalidValue, match="a key without white space, not starting with #"):
            map_file(Map(HOSTS, {key: Row("v")}))

    @pytest.mark.parametrize("value", ["", " ", " a", "a ", "a\u00a0"])
    def test_refuses_a_value_that_would_be_read_as_another(self, value: str) -> None:
        with pytest.raises(InvalidValue, match="a value without white space at its ends") as caught:
            map_file(Map(HOSTS, {"key": Row(value)}))
        assert (caught.value.field, caught.value.value) == (HOSTS, "key")

    def test_refuses_a_row_that_haproxy_would_cut_in_two(self) -> None:
        longest = "ä" * ((MAX_ROW_BYTES - 2) // 2)
        assert len(map_file(Map(HOSTS, {"k": Row(longest)}))) == MAX_ROW_BYTES + 1
        with pytest.raises(InvalidValue, match=f"at most {MAX_ROW_BYTES} bytes with its value"):
            map_file(Map(HOSTS, {"k": Row(longest + "a")}))

    @given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=["Cc", "Cs"]))))
    def test_holds_exactly_the_rows_or_is_refused(self, rows: dict[str, str]) -> None:
        of = Map(HOSTS, {key: Row(value) for key, value in rows.items()})
        try:
            data = map_file(of)
        except InvalidValue:
            return
        pairs = [line.split(" ", 1) for line in data.decode().split("\n")[:-1]]
        assert dict(pairs) == rows


names = st.sampled_from("abcd")


@given(
    st.lists(
        st.tuples(st.dictionaries(names, st.integers(1, 3)), st.dictionaries(names, names)),
        max_size=5,
    )
)
def test_a_renderer_that_remembers_gives_what_one_from_scratch_gives(
    steps: list[tuple[dict[str, int], dict[str, str]]],
) -> None:
    renderer = Renderer()
    backends: dict[tuple[str, int], Backend] = {}
    maps: dict[str, Map] = {}
    for ports, rows in steps:
        for name, port in ports.items():
            server = Server("s", "::1", port, id=port)
            backends.setdefault((name, port), Backend(name, "p", {"s": server}, origins=(name,)))
        of = maps.setdefault(str(sorted(rows)), Map(HOSTS, {k: Row(v, k) for k, v in rows.items()}))
        desired = Config(
            backends={name: backends[name, port] for name, port in ports.items()}, maps={HOSTS: of}
        )
        assert renderer.render(desired) == render(desired)
