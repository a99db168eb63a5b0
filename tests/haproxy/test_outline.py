from __future__ import annotations

from attrs import evolve

from haproxy.model import Backend, Bind, Config, Frontend, Map, Profile, Row, Server, lines
from haproxy.outline import Kept, Outline, outline
from haproxy.render import CONFIG_FILE, Renderer, render

P, OTHER = Profile(), Profile(retries=7)
S1, S2 = Server("s1", "10.0.0.1", 80, id=1), Server("s2", "fd00::2", 80, id=2)
WEB = Backend("web", P.name, {"s1": S1})
FIXED = Backend("fixed", P.name, lines=lines("http-request return status 404 hdr X 'a  b'"))
CONFIG = Config(
    profiles={P.name: P},
    frontends=(Frontend("http", (Bind("*", 80),), lines("acl it path 'a b'")),),
    backends={"web": WEB, "fixed": FIXED},
    maps={"maps/m": Map("maps/m", {"a": Row("web")})},
)


def of(config: Config, description: str = "") -> Outline:
    return outline(Renderer().render(config, description).files[CONFIG_FILE].decode())


def with_web(backend: Backend) -> Config:
    return evolve(CONFIG, backends={**CONFIG.backends, "web": backend})


def test_backends_without_their_servers() -> None:
    assert of(CONFIG).backends == {
        "web": Kept(P.name, "", ()),
        "fixed": Kept(P.name, "  http-request return status 404 hdr X 'a  b'"),
    }


def test_fixed_lines_are_read_as_they_were() -> None:
    assert lines(of(CONFIG).backends["fixed"].lines) == FIXED.lines


def test_what_every_server_line_ends_in() -> None:
    web = evolve(WEB, server_options=("proto", "h2"))
    assert of(with_web(web)).backends["web"].options == ("proto", "h2")
    assert of(with_web(evolve(web, servers={}))).backends["web"].options is None


def test_profiles() -> None:
    assert list(of(CONFIG).profiles) == [P.name]


def test_servers_rows_and_the_description_are_no_structure() -> None:
    more = evolve(with_web(evolve(WEB, servers={"s2": S2})), maps={"maps/m": Map("maps/m")})
    assert of(more).name == of(CONFIG).name == of(CONFIG, "of before").name


def test_all_else_is() -> None:
    others = (
        evolve(CONFIG, process=evolve(CONFIG.process, threads=2)),
        evolve(CONFIG, frontends=(evolve(CONFIG.frontends[0], keep_alive_timeout_ms=1),)),
        evolve(CONFIG, profiles={**CONFIG.profiles, OTHER.name: OTHER}),
        with_web(evolve(WEB, profile=OTHER.name)),
        with_web(evolve(WEB, lines=FIXED.lines)),
        evolve(CONFIG, backends={"web": WEB}),
    )
    names = {of(CONFIG).name, *(of(other).name for other in others)}
    assert len(names) == len(others) + 1


def test_a_configuration_is_named_after_its_structure() -> None:
    rendered = render(CONFIG)
    assert rendered.description == of(CONFIG).name == of(CONFIG).description
    assert of(CONFIG, "of before").description == "of before"


def test_nothing_is_nothing() -> None:
    assert outline("") == Outline()
