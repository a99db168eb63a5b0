from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve, frozen

from haproxy.capabilities import Capabilities
from haproxy.effects import after
from haproxy.model import (
    Backend,
    Bind,
    Config,
    Frontend,
    Global,
    Map,
    Profile,
    Resolvers,
    Row,
    Server,
    State,
    lines,
)
from haproxy.ops import (
    AddBackend,
    AddRow,
    AddServer,
    Cause,
    DelBackend,
    DelRow,
    DelServer,
    Op,
    Plan,
    Reason,
    ReplaceMap,
    SetAddress,
    SetRow,
    SetState,
    SetWeight,
    Step,
)
from haproxy.plan import Changed, plan
from tests.haproxy.configs import (
    HOSTS,
    REGEX,
    ROUTES,
    V2_6,
    V3_4,
)

BOTH = [V2_6, V3_4]
P, Q = Profile(), Profile(retries=9)
S1 = Server("s1", "10.0.0.1", 80, id=1)
S2 = Server("s2", "10.0.0.2", 80, id=2)
FRESH = Server("s3", "10.0.0.3", 80)
FRESH_ID = 247_224  # a function of the address and the port
WEB = Backend("web", P.name, {"s1": S1, "s2": S2})
FRONT = Frontend("http", (Bind("*", 80),), default_backend="web")
RUNNING = Config(
    profiles={P.name: P},
    frontends=(FRONT,),
    backends={"web": WEB},
    maps={
        ROUTES: Map(ROUTES, {"/a": Row("web"), "/b": Row("web")}),
        REGEX: Map(REGEX, {"^/a": Row("web"), "^/b": Row("web")}, ordered=True),
        HOSTS: Map(HOSTS, {"a.test": Row("known")}),
    },
)


def with_servers(*servers: Server) -> Config:
    web = evolve(WEB, servers={server.name: server for server in servers})
    return evolve(RUNNING, backends={"web": web})


def with_rows(name: str, **changes: str | None) -> Config:
    """Rows by the letter of their key; None goes."""
    of = RUNNING.maps[name]
    rows = {key: row for key, row in of.rows.items() if key[-1] not in changes}
    prefix = "^/" if of.ordered else "/"
    rows |= {prefix + key: Row(value) for key, value in changes.items() if value}
    return evolve(RUNNING, maps={**RUNNING.maps, name: evolve(of, rows=rows)})


def with_backend(new: Backend, *profiles: Profile, row: str = "/a") -> Config:
    """A backend that was not there, and a row that names it."""
    rows = {**RUNNING.maps[ROUTES].rows, row: Row(new.name, needs=(new.name,))}
    return evolve(
        RUNNING,
        profiles={**RUNNING.profiles, **{profile.name: profile for profile in profiles}},
        backends={**RUNNING.backends, new.name: new},
        maps={**RUNNING.maps, ROUTES: Map(ROUTES, rows)},
    )


H2 = ("proto", "h2")
MAINT, DRAIN = State.MAINT, State.DRAIN
API = Backend("api", P.name, {"s3": FRESH})
ADD_FRESH = AddServer("api", evolve(FRESH, id=FRESH_ID))


@pytest.mark.parametrize("can", BOTH, ids=str)
@pytest.mark.parametrize(
    ("desired", "ops"),
    [
        pytest.param(RUNNING, (), id="in sync"),
        pytest.param(
            with_servers(S1, S2, FRESH),
            (AddServer("web", evolve(FRESH, id=FRESH_ID)),),
            id="new server",
        ),
        pytest.param(
            with_servers(S1, evolve(S2, weight=7)), (SetWeight("web", "s2", 7),), id="weight"
        ),
        pytest.param(
            with_servers(S1, evolve(S2, state=DRAIN)), (SetState("web", "s2", DRAIN),), id="state"
        ),
        pytest.param(
            with_servers(S1, evolve(S2, port=81)),
            (SetAddress("web", "s2", "10.0.0.2", 81),),
            id="address",
        ),
        pytest.param(
            with_servers(S1, evolve(S2, id=0, address="10.0.0.9")),
            (SetAddress("web", "s2", "10.0.0.9", 80),),
            id="another address keeps the id",
        ),
        pytest.param(with_servers(S1, evolve(S2, id=77)), (), id="an id never changes"),
        pytest.param(
            with_servers(S1, evolve(S2, port=81, weight=3, state=MAINT)),
            (
                SetState("web", "s2", MAINT),
                SetAddress("web", "s2", "10.0.0.2", 81),
                SetWeight("web", "s2", 3),
            ),
            id="into maintenance first, then the new address",
        ),
        pytest.param(
            with_servers(S1),
            (SetState("web", "s2", MAINT), DelServer("web", "s2")),
            id="removed server",
        ),
        pytest.param(with_rows(ROUTES, c="web"), (AddRow(ROUTES, "/c", "web"),), id="new row"),
        pytest.param(
            with_rows(HOSTS, c="x", d="y"),
            (AddRow(HOSTS, "/c", "x"), AddRow(HOSTS, "/d", "y")),
            id="new rows, in the order of their keys",
        ),
        pytest.param(with_rows(ROUTES, b="x"), (SetRow(ROUTES, "/b", "x"),), id="changed row"),
        pytest.param(with_rows(ROUTES, b=None), (DelRow(ROUTES, "/b"),), id="deleted row"),
        pytest.param(
            with_rows(ROUTES, a=None, c="web"),
            (AddRow(ROUTES, "/c", "web"), DelRow(ROUTES, "/a")),
            id="rows come before rows go",
        ),
        pytest.param(
            with_rows(REGEX, b="x"),
            (ReplaceMap(REGEX, {"^/a": Row("web"), "^/b": Row("x")}),),
            id="an ordered map changes as a whole",
        ),
        pytest.param(
            evolve(RUNNING, backends={"web": evolve(WEB, origins=("someone",))}),
            (),
            id="who asked makes no difference",
        ),
    ],
)
def test_what_can_be_set_at_runtime_is(
    desired: Config, ops: tuple[Op, ...], can: Capabilities
) -> None:
    found = plan(RUNNING, desired, can)
    assert found.ops == ops
    assert found.reload == ()
    assert found.action == ("runtime" if ops else "none")


def test_an_ordered_map_in_another_order_is_replaced() -> None:
    of = RUNNING.maps[REGEX]
    turned = evolve(of, rows={"^/b": of.rows["^/b"], "^/a": of.rows["^/a"]})
    (op,) = plan(RUNNING, evolve(RUNNING, maps={**RUNNING.maps, REGEX: turned}), V2_6).ops
    assert isinstance(op, ReplaceMap)
    assert list(op.rows) == ["^/b", "^/a"]


@pytest.mark.parametrize(
    ("before", "then", "ops"),
    [
        (MAINT, State.READY, ["address", "weight", "state"]),
        (DRAIN, State.READY, ["address", "weight", "state"]),
        (MAINT, DRAIN, ["address", "weight", "state"]),
        (State.READY, MAINT, ["state", "address", "weight"]),
        (State.READY, DRAIN, ["state", "address", "weight"]),
        (DRAIN, MAINT, ["state", "address", "weight"]),
    ],
)
def test_no_server_serves_from_an_address_that_is_about_to_change(
    before: State, then: State, ops: list[str]
) -> None:
    running = with_servers(evolve(S1, state=before))
    desired = with_servers(evolve(S1, state=then, address="10.0.0.9", weight=5))
    assert [step.reason.field for step in plan(running, desired, V2_6).steps] == ops


def test_rows_enter_in_the_order_of_the_maps_and_leave_in_the_reverse_one() -> None:
    gone = evolve(RUNNING, maps={name: evolve(of, rows={}) for name, of in RUNNING.maps.items()})
    entering = [getattr(op, "map", "") for op in plan(gone, RUNNING, V2_6).ops]
    assert entering == [ROUTES, ROUTES, REGEX, HOSTS]
    leaving = plan(RUNNING, gone, V2_6).ops
    assert [op for op in leaving if isinstance(op, DelRow)] == [
        *(DelRow(HOSTS, "a.test"), DelRow(ROUTES, "/a"), DelRow(ROUTES, "/b")),
    ]


def test_servers_come_before_the_rows_and_go_after_them() -> None:
    server = evolve(S2, name="s9", id=0)
    desired = evolve(with_servers(S1, server), maps=with_rows(ROUTES, a="x").maps)
    kinds = [type(op) for op in plan(RUNNING, desired, V2_6).ops]
    assert kinds == [AddServer, SetRow, SetState, DelServer]


class TestNewBackend:
    def test_is_added_at_runtime_since_3_4(self) -> None:
        found = plan(RUNNING, with_backend(API), V3_4)
        assert found.ops == (AddBackend("api", P.name), ADD_FRESH, SetRow(ROUTES, "/a", "api"))
        assert found.reload == ()

    def test_needs_a_reload_before_and_its_rows_wait_for_it(self) -> None:
        found = plan(RUNNING, with_backend(evolve(API, origins=("me",))), V2_6)
        assert found.ops == ()
        reason = Reason("backend api", "profile", None, P.name, Cause.NEW_BACKEND)
        assert found.reload == (reason,)
        assert found.reload[0].origin == ("me",)
        assert found.action == "reload"

    @pytest.mark.parametrize("can", BOTH, ids=str)
    def test_with_an_unknown_profile_needs_a_reload(self, can: Capabilities) -> None:
        found = plan(RUNNING, with_backend(evolve(API, profile=Q.name), Q), can)
        assert found.ops == ()
        assert [reason.cause for reason in found.reload] == [Cause.NEW_PROFILE]

    @pytest.mark.parametrize("can", BOTH, ids=str)
    def test_with_lines_of_its_own_needs_a_reload(self, can: Capabilities) -> None:
        found = plan(RUNNING, with_backend(evolve(API, lines=lines("fullconn 5"))), can)
        assert [reason.cause for reason in found.reload] == [Cause.NEW_BACKEND]

    def test_adds_its_servers_with_their_options(self) -> None:
        found = plan(RUNNING, with_backend(evolve(API, server_options=H2)), V3_4)
        fresh = evolve(ADD_FRESH, options=H2)
        assert found.ops[:2] == (AddBackend("api", P.name, H2), fresh)
        assert found.reload == ()

    @pytest.mark.parametrize("can", BOTH, ids=str)
    def test_whose_servers_have_options_never_tried_needs_a_reload(self, can: Capabilities) -> None:
        found = plan(RUNNING, with_backend(evolve(API, server_options=("check",))), can)
        assert found.ops == ()
        assert [reason.cause for reason in found.reload] == [Cause.NEW_BACKEND]

    def test_does_not_hold_up_what_is_beside_it(self) -> None:
        desired = with_backend(API)
        desired = evolve(
            desired, backends={**desired.backends, **with_servers(S1, S2, FRESH).backends}
        )
        found = plan(RUNNING, desired, V2_6)
        assert found.ops == (AddServer("web", evolve(FRESH, id=FRESH_ID)),)
        assert found.action == "reload"

    def test_holds_up_the_row_of_an_ordered_map_and_no_other(self) -> None:
        desired = with_backend(API)
        rows = {
            "^/new": Row("api", needs=("api",)),
            "^/a": Row("api", needs=("api",)),
            "^/b": Row("other"),
        }
        regex = Map(REGEX, rows, ordered=True)
        desired = evolve(desired, maps={**desired.maps, REGEX: regex})
        found = plan(RUNNING, desired, V2_6)
        assert found.ops == (ReplaceMap(REGEX, {"^/a": Row("web"), "^/b": Row("other")}),)

    def test_holds_up_a_row_that_needs_it_without_naming_it(self) -> None:
        desired = with_backend(API, row="/new")
        hosts = {**RUNNING.maps[HOSTS].rows, "b.test": Row("known", needs=("web", "api"))}
        desired = evolve(desired, maps={**desired.maps, HOSTS: Map(HOSTS, hosts)})
        assert plan(RUNNING, desired, V2_6).ops == ()
        assert plan(RUNNING, desired, V3_4).ops == (
            *(AddBackend("api", P.name), ADD_FRESH),
            *(AddRow(ROUTES, "/new", "api"), AddRow(HOSTS, "b.test", "known")),
        )


class TestRemovedBackend:
    RUNNING = evolve(
        RUNNING,
        backends={**RUNNING.backends, "old": Backend("old", P.name, {"s": S1})},
        maps={**RUNNING.maps, ROUTES: Map(ROUTES, {"/a": Row("old"), "/b": Row("web")})},
    )
    EMPTIED = (
        SetRow(ROUTES, "/a", "web"),
        SetState("old", "s", MAINT),
        DelServer("old", "s"),
    )

    def test_needs_no_reload(self) -> None:
        found = plan(self.RUNNING, RUNNING, V2_6)
        assert found.ops == self.EMPTIED
        assert found.reload == ()

    def test_is_gone_since_3_4(self) -> None:
        assert plan(self.RUNNING, RUNNING, V3_4).ops == (*self.EMPTIED, DelBackend("old"))

    def test_that_was_emptied_before_is_left_alone(self) -> None:
        emptied = after(self.RUNNING, self.EMPTIED)
        assert plan(emptied, RUNNING, V2_6) == Plan()
        assert plan(emptied, RUNNING, V3_4).ops == (DelBackend("old"),)

    def test_that_never_ran_is_nothing_to_do(self) -> None:
        assert plan(RUNNING, RUNNING, V3_4, Changed(frozenset({"never"}))) == Plan()

    def test_with_lines_of_its_own_stays_until_a_reload(self) -> None:
        old = Backend("old", P.name, lines=lines("fullconn 5"))
        running = evolve(RUNNING, backends={**RUNNING.backends, "old": old})
        assert plan(running, RUNNING, V3_4) == Plan()

    @pytest.mark.parametrize("can", BOTH, ids=str)
    def test_keeps_serving_while_a_row_waits_to_leave_it(self, can: Capabilities) -> None:
        """The row goes on naming it until the reload brings the new one."""
        desired = with_backend(evolve(API, profile=Q.name), Q)
        found = plan(self.RUNNING, desired, can)
        assert found.action == "reload"
        assert found.ops == ()


@frozen
class Tomorrow(Server):
    """A server with a field that nobody knows yet."""

    tls: bool = False


@frozen
class Novel(Backend):
    """A backend with a field that nobody knows yet."""

    fullconn: int = 0


def _web(**changes: Any) -> Config:
    return evolve(RUNNING, backends={"web": evolve(WEB, **changes)})


NOVEL = Novel("web", P.name, WEB.servers)
TOMORROW = Tomorrow("s1", "10.0.0.1", 80, id=1)


@pytest.mark.parametrize("can", BOTH, ids=str)
@pytest.mark.parametrize(
    ("running", "desired", "reason"),
    [
        pytest.param(
            RUNNING,
            evolve(RUNNING, process=Global(maxconn=9)),
            Reason("global", "maxconn", 0, 9, Cause.GLOBAL),
            id="global",
        ),
        pytest.param(
            RUNNING,
            evolve(RUNNING, frontends=(evolve(FRONT, binds=()),)),
            Reason("frontend http", "binds", FRONT.binds, (), Cause.LISTENER),
            id="listener",
        ),
        pytest.param(
            RUNNING,
            evolve(RUNNING, frontends=(FRONT, Frontend("x", ()))),
            Reason("frontend x", "frontend", None, "x", Cause.LISTENER),
            id="new frontend",
        ),
        pytest.param(
            RUNNING,
            evolve(RUNNING, frontends=()),
            Reason("frontend http", "frontend", "http", None, Cause.LISTENER),
            id="removed frontend",
        ),
        pytest.param(
            RUNNING,
            evolve(RUNNING, resolvers=(Resolvers("dns"),)),
            Reason("configuration", "resolvers", (), (Resolvers("dns"),)),
            id="resolvers",
        ),
        pytest.param(
            RUNNING,
            _web(profile=Q.name),
            Reason("backend web", "profile", P.name, Q.name, Cause.NEW_PROFILE),
            id="another profile, unknown",
        ),
        pytest.param(
            evolve(RUNNING, profiles={P.name: P, Q.name: Q}),
            evolve(_web(profile=Q.name), profiles={P.name: P, Q.name: Q}),
            Reason("backend web", "profile", P.name, Q.name),
            id="another profile, known",
        ),
        pytest.param(
            RUNNING,
            evolve(RUNNING, profiles={P.name: Q}),
            Reason(f"profile {P.name}", "content", cause=Cause.NEW_PROFILE),
            id="other content of a profile",
        ),
        pytest.param(
            RUNNING,
            _web(lines=lines("fullconn 5")),
            Reason("backend web", "lines", (), lines("fullconn 5")),
            id="lines of a backend",
        ),
        pytest.param(
            RUNNING,
            evolve(RUNNING, maps={**RUNNING.maps, "maps/new.map": Map("maps/new.map")}),
            Reason("map maps/new.map", "map", None, "maps/new.map"),
            id="new map",
        ),
        pytest.param(
            RUNNING,
            evolve(RUNNING, maps={**RUNNING.maps, HOSTS: Map(HOSTS, {}, ordered=True)}),
            Reason(f"map {HOSTS}", "ordered", False, True),
            id="a map that becomes ordered",
        ),
        pytest.param(
            with_servers(TOMORROW),
            with_servers(evolve(TOMORROW, tls=True)),
            Reason("server web/s1", "tls", False, True),
            id="a field of a server that nobody knows",
        ),
        pytest.param(
            with_servers(),
            with_servers(evolve(TOMORROW, tls=True)),
            Reason("server web/s1", "server", None, "s1"),
            id="a new server with a field that nobody knows",
        ),
        pytest.param(
            evolve(RUNNING, backends={"web": NOVEL}),
            evolve(RUNNING, backends={"web": evolve(NOVEL, fullconn=5)}),
            Reason("backend web", "fullconn", 0, 5),
            id="a field of a backend that nobody knows",
        ),
        pytest.param(
            evolve(RUNNING, backends={}),
            evolve(RUNNING, backends={"web": evolve(NOVEL, fullconn=5)}),
            Reason("backend web", "profile", None, P.name, Cause.NEW_BACKEND),
            id="a new backend with a field that nobody knows",
        ),
        pytest.param(
            evolve(RUNNING, backends={}),
            with_servers(TOMORROW),
            Reason("backend web", "profile", None, P.name, Cause.NEW_BACKEND),
            id="a new backend of servers with a field that nobody knows",
        ),
    ],
)
def test_what_cannot_be_set_at_runtime_needs_a_reload(
    running: Config, desired: Config, reason: Reason, can: Capabilities
) -> None:
    found = plan(running, desired, can)
    assert found.reload == (reason,)
    assert not any(isinstance(op, AddServer | AddBackend) for op in found.ops)


@pytest.mark.parametrize(
    "desired",
    [
        pytest.param(evolve(RUNNING, profiles={P.name: P, Q.name: Q}), id="new profile"),
        pytest.param(evolve(RUNNING, profiles={}), id="removed profile"),
        pytest.param(evolve(RUNNING, maps={}), id="removed map"),
    ],
)
def test_what_nothing_refers_to_needs_nothing(desired: Config) -> None:
    assert plan(RUNNING, desired, V2_6) == Plan()


def test_every_step_says_which_field_of_what_and_who_asked() -> None:
    rows = {**RUNNING.maps[ROUTES].rows, "/c": Row("web", origin="me")}
    desired = evolve(RUNNING, maps={**RUNNING.maps, ROUTES: Map(ROUTES, rows)})
    (step,) = plan(RUNNING, desired, V2_6).steps
    assert step == Step(AddRow(ROUTES, "/c", "web"), step.reason)
    assert step.reason == Reason(f"map {ROUTES}", "/c", None, "web")
    assert step.reason.origin == "me"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason("server b/s", "weight", 1, 0), "server b/s: weight 1 -> 0"),
        (Reason("map m", "/a", None, "b"), "map m: /a b added"),
        (Reason("map m", "/a", "b", None), "map m: /a b removed"),
    ],
)
def test_a_reason_reads_as_a_sentence(reason: Reason, text: str) -> None:
    assert str(reason) == text


def test_places_that_changed_add_up() -> None:
    one = Changed(frozenset("a"), {"m": frozenset("x")})
    other = Changed(frozenset("b"), {"m": frozenset("y"), "n": frozenset("z")}, structure=True)
    both = {"m": frozenset("xy"), "n": frozenset("z")}
    assert one | other == Changed(frozenset("ab"), both, structure=True)
    assert one
    assert not Changed(rows={"m": frozenset()})


@pytest.mark.parametrize("can", BOTH, ids=str)
def test_other_server_options_of_a_backend_need_a_reload(can: Capabilities) -> None:
    web = evolve(RUNNING.backends["web"], server_options=H2)
    found = plan(RUNNING, evolve(RUNNING, backends={**RUNNING.backends, "web": web}), can)
    assert found.ops == ()
    assert found.reload == (Reason("backend web", "server_options", (), H2),)
