"""``python -m haproxy`` against a real HAProxy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.integration.kit.runtime import serving

pytestmark = pytest.mark.integration


@frozen
class Shell:
    folder: Path

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "haproxy", str(self.folder / "s"), *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=60
        )

    def json(self, command: str) -> Any:
        done = self(command, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    @property
    def map(self) -> str:
        return str(self.folder / "hosts.map")


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with serving() as folder:
        yield Shell(folder)


def test_text_is_printed_as_it_came(shell: Shell) -> None:
    done = shell("show info")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Name: HAProxy\nVersion: ")
    assert shell(f"get map {shell.map} /a").stdout.startswith("type=str")


def test_json_of_what_has_records(shell: Shell) -> None:
    assert shell.json("show info")["Name"] == "HAProxy"
    states = {one["name"]: one for one in shell.json("show servers state web")}
    assert (states["s2"]["weight"], states["s2"]["address"]) == (5, "127.0.0.1")
    assert shell.json("show servers state") == list(states.values())
    assert [one["name"] for one in shell.json("show stat") if one["proxy"] == "web"] == [
        *("s1", "s2", "BACKEND")
    ]
    assert {"key": "/b", "value": "two words"} in shell.json(f"show map {shell.map}")
    assert any(shell.map in str(one) for one in shell.json("show map"))
    assert "192.0.2.1" in shell.json(f"show acl {shell.folder / 'denied.acl'}")
    assert "web" in shell.json("show backend")
    for command in ("show servers conn", "show sess", "show acl", "show table", "show ssl cert"):
        assert isinstance(shell.json(command), list)


def test_json_of_what_has_none_is_a_list_of_lines(shell: Shell) -> None:
    [version] = shell.json("show version")
    assert version[0].isdigit()
    assert shell.json("set server web/s1 weight 2") == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bogus", "Unknown command"),
        ("show bogus", "Unknown command"),
        ("show map none", "Unknown map identifier"),
        ("show servers state none", "Can't find backend"),
        ("set server web/none weight 1", "No such server."),
        ("set server web/s1 weight 999", "Absolute weight"),
        ("set map none a b", "Unknown map identifier"),
    ],
)
def test_a_refusal_is_an_error_in_haproxys_words(shell: Shell, command: str, words: str) -> None:
    for arguments in ((command,), (command, "--json")):
        done = shell(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(words)


def test_a_payload_comes_from_standard_input(shell: Shell) -> None:
    done = shell(f"add map {shell.map} <<", stdin="/c x y\n/d z")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rows = {one["key"]: one["value"] for one in shell.json(f"show map {shell.map}")}
    assert (rows["/c"], rows["/d"]) == ("x y", "z")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("show info", "show stat"),
        ("show info;show stat",),
        ("",),
        ("prompt",),
        ("show info", "--deadline", "0"),
        ("show info", "--deadline", "nan"),
        ("show info", "--bogus"),
    ],
)
def test_wrong_usage(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_there(shell: Shell) -> None:
    done = Shell(shell.folder / "none")("show info")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr
