"""What HAProxy's master says, and what a state directory takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from haproxy.errors import ConfigRefused, FilesFailed, InvalidValue, ProcessFailed, UnreadableReply
from haproxy.files import Layout, StateDirectory
from haproxy.local import Binary
from haproxy.master import Processes, alerts, in_flight, processes, refusal, verdict

HEAD = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n"
UP = "0d00h00m05s     2.6.12-1+deb12u4\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            f"{HEAD}83              master          0 [failed: 0]   {UP}"
            f"# workers\n86              worker          0               {UP}# programs\n\n",
            Processes(83, 0, 0, (86,), ()),
            id="started",
        ),
        pytest.param(
            f"{HEAD}83              master          3 [failed: 0]   {UP}"
            f"# workers\n94              worker          0               {UP}"
            f"# old workers\n86              worker          3               {UP}"
            f"90              worker          2               {UP}# programs\n\n",
            Processes(83, 3, 0, (94,), (86, 90)),
            id="old-workers",
        ),
        pytest.param(
            f"{HEAD}69              master          2 [failed: 1]   {UP}"
            f"# workers\n# old workers\n72              worker          2               {UP}\n\n",
            Processes(69, 2, 1, (), (72,)),
            id="failed-reload-since-3.1",
        ),
        pytest.param(
            f"{HEAD}83              master          0 [failed: 0]   {UP}"
            f"# workers\n# programs\n88              log             0               {UP}",
            Processes(83, 0, 0, (), ()),
            id="programs-are-not-workers",
        ),
    ],
)
def test_show_proc(text: str, expected: object) -> None:
    assert processes(text) == expected


@pytest.mark.parametrize("text", ["", "Unknown command\n", f"{HEAD}# workers\n"])
def test_show_proc_without_a_master_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableReply):
        processes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Success=1\n--\nall well\n", (True, "all well\n")),
        ("Success=0\n--\n[ALERT] ...\n", (False, "[ALERT] ...\n")),
        ("Success=1\n", (True, "")),
        ("", (None, "")),
        ("Can't connect to the target CLI!\n", (None, "Can't connect to the target CLI!\n")),
        ("Success=2\n--\n", (None, "Success=2\n--\n")),
    ],
)
def test_verdict(text: str, expected: object) -> None:
    assert verdict(text) == expected


def test_requests_in_flight_are_those_of_backends() -> None:
    text = (
        "# pxname,svname,qcur,qmax,scur,smax,last_chk,\n"
        'web,BACKEND,0,0,2,5,"a, b",\n'
        "web,s1,0,0,2,5,,\nhttp,FRONTEND,,,7,9,,\nother,BACKEND,0,0,1,1,,\n\n"
    )
    assert in_flight(text) == 3


@pytest.mark.parametrize("text", ["", "Permission denied\n"])
def test_statistics_without_columns_are_unreadable(text: str) -> None:
    with pytest.raises(UnreadableReply):
        in_flight(text)


LOG = """\
[NOTICE]   (10) : haproxy version is 3.2.26-1
[ALERT]    (11) : config : parsing [/run/x/current/haproxy.cfg:14] : unknown keyword 'foo'
  | http-request foo
[WARNING]  (11) : config : something harmless
  | of two lines
[ALERT]    (11) : config : Error(s) found in configuration file : /run/x/current/haproxy.cfg
[ALERT]    (11) : config : Fatal errors found in configuration.
"""
BIND = """\
[ALERT]    (11) : Binding [haproxy.cfg:12] for frontend f: cannot bind socket (Address already \
in use) for [127.0.0.1:80]
[ALERT]    (11) : [haproxy.main()] Some protocols failed to start their listeners! Exiting.
"""


def test_alerts_are_reasons_without_summaries_pids_and_folders() -> None:
    assert alerts(LOG, "/run/x/current/") == (
        "config : parsing [haproxy.cfg:14] : unknown keyword 'foo'",
        "| http-request foo",
    )


def test_a_summary_alone_is_better_than_nothing() -> None:
    text = "[ALERT]    (11) : config : Fatal errors found in configuration.\n"
    assert alerts(text) == ("config : Fatal errors found in configuration.",)


def test_a_port_in_use_is_one_line_and_no_fault_of_the_configuration() -> None:
    error = refusal("HAProxy did not start", BIND)
    assert isinstance(error, ProcessFailed)
    assert str(error) == (
        "HAProxy did not start: Binding [haproxy.cfg:12] for frontend f: cannot bind socket "
        "(Address already in use) for [127.0.0.1:80]"
    )


def test_other_alerts_are_a_refused_configuration() -> None:
    assert isinstance(refusal("", LOG), ConfigRefused)


@pytest.mark.parametrize(("log", "last"), [("", "no reason given"), ("a\nb\n\n", "b")])
def test_without_alerts_the_last_words_count(log: str, last: str) -> None:
    assert str(refusal("x", log)) == f"x: {last}"


@pytest.mark.parametrize(
    "path", ["/run/a b", "/run/a,b", "/run/a\nb", '/run/"', "/run/" + 80 * "x"]
)
def test_a_state_directory_that_sockets_cannot_have(path: str) -> None:
    with pytest.raises(InvalidValue, match="state directory"):
        Layout.at(path)


def test_a_relative_state_directory_becomes_absolute() -> None:
    assert Layout.at("state").root == Path.cwd() / "state"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StateDirectory]:
    layout = Layout(tmp_path / "state")  # no socket will be made here, however long its name
    with closing(StateDirectory.open(layout, check=lambda _: None)) as directory:
        yield directory


@pytest.mark.parametrize(
    "name", ["", ".", "/etc/passwd", "../x", "maps/../../x", "a//b", "./a", "a/", "a\0b"]
)
def test_a_file_name_that_leads_elsewhere(directory: StateDirectory, name: str) -> None:
    with pytest.raises(InvalidValue, match="file name"):
        directory.publish({name: b""})
    assert not directory.layout.current.is_symlink()


def test_a_folder_may_become_a_file_and_the_other_way_round(directory: StateDirectory) -> None:
    directory.publish({"haproxy.cfg": b"1", "x/y": b"1", "z": b"1"})
    directory.publish({"haproxy.cfg": b"2", "x": b"2", "z/y": b"2"})
    live = directory.layout.current
    assert ((live / "x").read_bytes(), (live / "z/y").read_bytes()) == (b"2", b"2")


def test_retired_files_leave_after_a_while(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.publish({"haproxy.cfg": b"1", "certs/a.pem": b"1"})
    directory.publish({"haproxy.cfg": b"2"})
    assert (directory.layout.current / "certs/a.pem").exists()
    monkeypatch.setattr("haproxy.files.RETIRED_S", 0.0)
    directory.publish({"haproxy.cfg": b"3"})
    assert not (directory.layout.current / "certs/a.pem").exists()


def test_two_generations_are_kept_also_by_the_next_owner(directory: StateDirectory) -> None:
    for number in range(4):
        directory.publish({"haproxy.cfg": b"%d" % number})
    root = directory.layout.root
    assert sorted(path.name for path in root.glob("gen-*")) == ["gen-000003", "gen-000004"]
    directory.close()
    (root / "gen-000005").mkdir()  # a candidate of an owner that was killed
    with closing(StateDirectory.open(directory.layout, lambda _: None)) as successor:
        assert sorted(path.name for path in root.glob("gen-*")) == ["gen-000003", "gen-000004"]
        successor.rollback()
        assert (root / "haproxy.cfg").read_bytes() == b"2"


def test_rollback_goes_back_once(directory: StateDirectory) -> None:
    directory.publish({"haproxy.cfg": b"1"})
    with pytest.raises(FilesFailed, match="no generation before"):
        directory.rollback()
    directory.publish({"haproxy.cfg": b"2"})
    directory.rollback()
    with pytest.raises(FilesFailed, match="no generation before"):
        directory.rollback()
    assert directory.layout.config.read_bytes() == b"1"


def test_a_folder_with_something_else_in_it_is_not_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    tmp_path.chmod(0o755)
    StateDirectory.open(Layout(tmp_path), lambda _: None).close()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProcessFailed, match="no-such-haproxy: no such program"):
        Binary("no-such-haproxy").version()


def test_another_program_is_no_haproxy() -> None:
    with pytest.raises(ProcessFailed, match="does not say which version"):
        Binary("echo").version()
