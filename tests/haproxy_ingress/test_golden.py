"""tests/golden/CASE/in.yaml gives the other files there: haproxy.cfg, maps and diagnostics.txt.

Each in.yaml begins with what it shows. Files that would be empty are left out. The case `simple`
has the whole of haproxy.cfg; the others only what their objects add to it, with profiles by what
they are for, so that a change of the chain or of a profile is a change of one file.
``pytest --update-golden`` writes the files anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from haproxy.ids import resolved
from haproxy.model import Config
from haproxy.render import CONFIG_FILE, render
from haproxy_ingress.merge import base
from haproxy_ingress.pipeline import compile_config
from haproxy_ingress.sources.manifests import read_paths
from haproxy_ingress.translate import DEFAULT_PROFILE, EXTERNAL_PROFILE, Settings

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/in.yaml"))
WHOLE = "simple"
INPUT, DIAGNOSTICS = "in.yaml", "diagnostics.txt"
SETTINGS = Settings(bind_addresses=("127.0.0.1",), runtime_socket="haproxy.sock")


def made(case: str) -> Mapping[str, str]:
    """The files of a case as they come out."""
    objects, unreadable = read_paths([GOLDEN / case / INPUT])
    config, found = compile_config(objects, SETTINGS)
    rendered = render(resolved(config, Config())).files
    files = {name: data.decode() for name, data in rendered.items()}
    if case != WHOLE:
        files[CONFIG_FILE] = added(files[CONFIG_FILE])
    files[DIAGNOSTICS] = "".join(f"{line}\n" for line in sorted(map(str, (*unreadable, *found))))
    return {name: text for name, text in files.items() if text}


def added(config: str) -> str:
    """The backends that are not there without any object.

    Neither is ``global`` the same: it describes the structure.
    """
    fixed = set(sections(render(base(SETTINGS)).files[CONFIG_FILE].decode()))
    text = "".join(one for one in sections(config) if one not in fixed and "global\n" not in one)
    for profile, name in ((DEFAULT_PROFILE, "DEFAULT"), (EXTERNAL_PROFILE, "EXTERNAL")):
        text = text.replace(f" from {profile.name}\n", f" from {name}\n")
    return text


def sections(config: str) -> list[str]:
    return [f"{one}\n\n" for one in config.split("\n\n") if one]


def expected(case: str) -> Mapping[str, str]:
    folder = GOLDEN / case
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != INPUT)
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def write(case: str, files: Mapping[str, str]) -> None:
    for name in expected(case):
        (GOLDEN / case / name).unlink()
    for name, text in files.items():
        path = GOLDEN / case / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, update_golden: bool) -> None:
    files = made(case)
    if update_golden:
        write(case, files)
    assert files == expected(case)


@pytest.mark.parametrize("case", CASES)
def test_a_case_says_what_it_shows(case: str) -> None:
    assert (GOLDEN / case / INPUT).read_text().startswith("# ")


def test_there_are_cases() -> None:
    assert WHOLE in CASES
