"""Every block of docs/haproxy.md is run, in its order, against one real HAProxy.

A block of `python` goes on where the one before it ended, and prints what the block of `text` after
it says; functions in it that are tests are called. Commands in a block of `sh` stand after a `$`.
``...`` in what is expected stands for anything.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

from tests.integration.kit.runtime import serving

pytestmark = pytest.mark.integration

GUIDE = Path(__file__).parents[2] / "docs" / "haproxy.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Block:
    kind: str
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(text)
    ]


def agrees(expected: str, printed: str) -> bool:
    pattern = ".*?".join(map(re.escape, expected.strip().split("...")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


@define
class Reader:
    """Somebody who tries everything. folder: of the HAProxy that runs."""

    folder: Path
    _names: dict[str, Any] = field(factory=lambda: {"__name__": "guide"})

    def follow(self, guide: list[Block]) -> None:
        for block, following in zip(guide, [*guide[1:], Block("", "", 0)], strict=True):
            if block.kind == "python":
                expected = following.text if following.kind == "text" else ""
                printed = self._python(block)
                assert agrees(expected, printed), f"line {block.line}: {printed}"
            elif block.kind == "sh":
                self._shell(block)

    def _here(self, text: str) -> str:
        text = text.replace("/run/haproxy.sock", str(self.folder / "s"))
        return text.replace("/etc/haproxy/", f"{self.folder}/")

    def _python(self, block: Block) -> str:
        source = "\n" * block.line + self._here(block.text)
        before, printed = dict(self._names), io.StringIO()
        with redirect_stdout(printed):
            exec(compile(source, str(GUIDE), "exec", dont_inherit=True), self._names)
            for name, value in self._names.items():
                if name.startswith("test_") and name not in before:
                    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
                        value(Path(folder))
        return printed.getvalue()

    def _shell(self, block: Block) -> None:
        for entry in block.text.split("$ ")[1:]:
            command, _, expected = entry.partition("\n")
            words = self._here(command).replace("python ", f"{sys.executable} ", 1)
            done = subprocess.run(
                words, shell=True, capture_output=True, text=True, check=False, timeout=60
            )
            printed = done.stdout + done.stderr
            assert agrees(expected, printed), f"line {block.line}: {command}: {printed}"


@pytest.fixture
def reader() -> Iterator[Reader]:
    with serving() as folder:
        yield Reader(folder)


def test_the_guide_does_what_it_says(reader: Reader) -> None:
    guide = blocks(GUIDE.read_text())
    assert {block.kind for block in guide} == {"", "sh", "python", "text"}
    reader.follow(guide)


@pytest.mark.parametrize(
    "guide",
    [
        [Block("python", "print(1)", 1), Block("text", "2", 2)],
        [Block("python", "print(1)", 1)],
        [Block("sh", "$ echo 1\n2\n", 1)],
        [Block("python", "def test_no(tmp_path):\n    assert not tmp_path\n", 1)],
    ],
    ids=["output", "silence", "shell", "test"],
)
def test_a_guide_that_is_wrong_is_noticed(tmp_path: Path, guide: list[Block]) -> None:
    with pytest.raises(AssertionError):
        Reader(tmp_path).follow(guide)


def test_what_is_expected_may_leave_out() -> None:
    assert agrees("a ... c\n", "a b\nb c")
    assert not agrees("a ... c", "a b")
