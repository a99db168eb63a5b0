"""The laws of docs/architecture.md that a machine can tell, over the source of both packages.

Each check is a function from a module's name and source to what is wrong with it, and is first
shown to find what it looks for.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 400

# In their order: a room imports only from rooms above it. A sub-package is one room.
ROOMS = {
    "haproxy": """
        errors units capabilities model outline render ops effects ids keyring plan protocol
        verdicts tables words observe commands calls runtime live dataplane files child master
        masters local apply adopt fake faults fake_worker
        fake_members fake_tables fake_wire fake_socket testing __init__ __main__
    """.split(),
    "haproxy_ingress": """
        diagnostics grammars settings options certificates resources naming reader kinds
        legacy parsing soundness sources kube store memo annotations dialects routing headers
        protocols tls translate members edits server_names merge pipeline journal metrics
        logs admin selfsigned loader driver controller testing __init__ daemon client cli
        __main__
    """.split(),
}

# Where the world may be touched (law 2).
SOCKET = {"haproxy.runtime", "haproxy.local", "haproxy.fake_socket"}
HOMES = {
    "socket": SOCKET,
    "requests": {"haproxy.dataplane"},
    "subprocess": {"haproxy.local"},
    "kubernetes": {"haproxy_ingress.kube"},
    "tenacity": {*SOCKET, "haproxy.dataplane", "haproxy_ingress.kube"},
}
WRITERS = {"haproxy.local", "haproxy.files"}
READERS = {*WRITERS, "haproxy_ingress.sources", "haproxy_ingress.kube", "haproxy_ingress.cli"}
WRITES = {
    *("write_text", "write_bytes", "touch", "mkdir", "makedirs", "unlink", "remove", "rmdir"),
    *("rename", "renames", "symlink", "symlink_to", "link", "hardlink_to", "chmod", "chown"),
    *("truncate", "rmtree", "copyfile", "copytree", "mkstemp", "mkdtemp"),
}
WRITING_MODULES = {"shutil", "tempfile"}
READS = {"read_text", "read_bytes"}

# Without clock, log, chance and environment (law 3): what lies between a change and its plan.
PURE = {
    *(
        f"haproxy.{room}"
        for room in "units capabilities model outline render ops effects ids keyring plan".split()
    ),
    *(
        f"haproxy.{room}"
        for room in "protocol verdicts tables words observe commands calls".split()
    ),
    *(
        f"haproxy_ingress.{room}"
        for room in takewhile("journal".__ne__, ROOMS["haproxy_ingress"])
        if room not in {"options", "sources", "kube"}
    ),
}
IMPURE_MODULES = {"time", "logging", "random", "secrets", "uuid", "threading"}
IMPURE_NAMES = {"now", "utcnow", "today", "environ", "getenv", "urandom"}

Check = Callable[[str, str], Iterator[str]]


def modules() -> dict[str, str]:
    found = {}
    for package in ROOMS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts)] = path.read_text()
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """``haproxy_ingress.kube.watch`` -> ``haproxy_ingress.kube``."""
    package, room, *_ = [*module.split("."), "__init__"]
    return f"{package}.{room}"


def imports(module: str, source: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is imported, wherever in the file: a module, and the names taken from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            names = [alias.name for alias in node.names]
            if origin in ROOMS:  # `from haproxy import plan` imports the room, not the package
                rooms = [name for name in names if name in ROOMS[origin]]
                yield from ((f"{origin}.{name}", ()) for name in rooms)
                names = [name for name in names if name not in rooms]
                if not names:
                    continue
            yield origin, tuple(names)


def disorder(module: str, source: str) -> Iterator[str]:
    package, room = room_of(module).split(".")
    order = ROOMS[package]
    if room not in order:
        yield f"{module} has no place in ROOMS"
        return
    for target, _ in imports(module, source):
        if target.split(".")[0] != package:
            continue
        other = room_of(target).split(".")[1]
        if other not in order:
            yield f"{module} imports {target}, which has no place in ROOMS"
        elif order.index(other) > order.index(room):
            yield f"{module} imports {target}, a room below it"


def knowledge_of_kubernetes(module: str, source: str) -> Iterator[str]:
    if module.startswith("haproxy."):
        for target, _ in imports(module, source):
            if target.split(".")[0] in {"haproxy_ingress", "kubernetes"}:
                yield f"{module} imports {target}"


def world(module: str, source: str) -> Iterator[str]:
    for target, names in imports(module, source):
        top = target.split(".")[0]
        if top == "socket" and names and all(name.isupper() for name in names):
            continue  # constants touch nothing
        if top in HOMES and room_of(module) not in HOMES[top]:
            yield f"{module} imports {target}"


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def owner(node: ast.Call) -> str | None:
    """``os`` of ``os.open()``; None of a plain function, "" of a longer expression."""
    if not isinstance(node.func, ast.Attribute):
        return None
    return node.func.value.id if isinstance(node.func.value, ast.Name) else ""


def is_open(node: ast.Call) -> bool:
    """Whether a call opens a file: the function, os's, or the method of a path."""
    # `StateDirectory.open()` makes a StateDirectory, which is a matter of its own room.
    constructor = (owner(node) or "")[:1].isupper() and owner(node) != "Path"
    return called(node) == "open" and not constructor


def opens(node: ast.Call) -> str:
    """The mode that a call opens a file in; "?" when only running it would tell."""
    if owner(node) == "os":
        text = ast.unparse(node)
        return "r" if "O_RDONLY" in text or "os.devnull" in text else "?"
    position = 1 if owner(node) in {None, "io"} else 0
    modes = [word.value for word in node.keywords if word.arg == "mode"]
    modes += node.args[position : position + 1]
    if not modes:
        return "r"
    mode = modes[0]
    return str(mode.value) if isinstance(mode, ast.Constant) else "?"


def is_write(node: ast.Call) -> bool:
    match called(node):
        case "open":
            return is_open(node) and bool(set(opens(node)) & set("wax+?"))
        case "replace":
            # Of a string it takes two arguments, of a datetime only named ones; of what else has
            # such a method, only the name tells.
            about_files = re.search("[Pp]ath|file|folder|link| / ", ast.unparse(node.func))
            return owner(node) in {None, "os"} or (len(node.args) == 1 and bool(about_files))
        case "remove" | "link":
            return owner(node) == "os"  # elsewhere it changes a collection
        case name:
            return name in WRITES


def writes(module: str, source: str) -> Iterator[str]:
    if room_of(module) in WRITERS:
        return
    for target, _ in imports(module, source):
        if target.split(".")[0] in WRITING_MODULES:
            yield f"{module} imports {target}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and is_write(node):
            yield f"{module}:{node.lineno} writes: {ast.unparse(node)}"


def reads(module: str, source: str) -> Iterator[str]:
    if room_of(module) in READERS:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (is_open(node) or called(node) in READS):
            yield f"{module}:{node.lineno} reads: {ast.unparse(node)}"


def impurity(module: str, source: str) -> Iterator[str]:
    if room_of(module) not in PURE:
        return
    for target, names in imports(module, source):
        if target.split(".")[0] in IMPURE_MODULES:
            yield f"{module} imports {target}"
        if target == "os" and IMPURE_NAMES & set(names):
            yield f"{module} imports {names} from os"
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name, value=ast.Name(id="os" | "datetime" | "date")):
                if name in IMPURE_NAMES:
                    yield f"{module}:{node.lineno} asks for {ast.unparse(node)}"
            case ast.Attribute(attr="now" | "utcnow" | "today"):
                yield f"{module}:{node.lineno} asks for {ast.unparse(node)}"
            case ast.Global(names=changed):
                yield f"{module}:{node.lineno} changes the global {', '.join(changed)}"


def length(module: str, source: str) -> Iterator[str]:
    if (lines := len(source.splitlines())) > MAX_LINES:
        yield f"{module} has {lines} lines"


LAWS: tuple[Check, ...] = (
    disorder,
    knowledge_of_kubernetes,
    world,
    writes,
    reads,
    impurity,
    length,
)


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (disorder, "haproxy.model", "from haproxy.plan import plan"),
        (disorder, "haproxy.model", "from haproxy import plan"),
        (disorder, "haproxy.model", "import haproxy.plan"),
        (disorder, "haproxy.model", "from .plan import plan"),
        (disorder, "haproxy.model", "from . import plan"),
        (disorder, "haproxy.model", "def late():\n    from haproxy.plan import plan"),
        (disorder, "haproxy.model", "from haproxy import Config"),
        (disorder, "haproxy.model", "from haproxy.attic import old"),
        (disorder, "haproxy.attic", ""),
        (disorder, "haproxy_ingress.kube.watch", "from haproxy_ingress.merge import merge"),
        (disorder, "haproxy_ingress.sources.__init__", "from haproxy_ingress.store import Store"),
        (knowledge_of_kubernetes, "haproxy.model", "import kubernetes.client"),
        (knowledge_of_kubernetes, "haproxy.testing", "from haproxy_ingress import store"),
        (world, "haproxy.plan", "import socket"),
        (world, "haproxy.plan", "from socket import AF_INET6, create_connection"),
        (world, "haproxy.runtime", "import subprocess"),
        (world, "haproxy_ingress.store", "from kubernetes import client"),
        (world, "haproxy_ingress.controller", "import requests"),
        (world, "haproxy_ingress.controller", "import tenacity"),
        (writes, "haproxy_ingress.cli", "open(path, 'w')"),
        (writes, "haproxy_ingress.cli", "open(path, mode)"),
        (writes, "haproxy_ingress.cli", "open(path, mode='ab')"),
        (writes, "haproxy_ingress.cli", "path.open('x')"),
        (writes, "haproxy_ingress.cli", "os.open(path, flags)"),
        (writes, "haproxy_ingress.cli", "os.open(path, os.O_WRONLY | os.O_CREAT)"),
        (writes, "haproxy_ingress.cli", "Path(name).open('w')"),
        (writes, "haproxy_ingress.cli", "path.write_text(text)"),
        (writes, "haproxy_ingress.cli", "os.replace(old, new)"),
        (writes, "haproxy_ingress.cli", "path.replace(new)"),
        (writes, "haproxy_ingress.cli", "(folder / name).replace(new)"),
        (writes, "haproxy_ingress.cli", "os.remove(path)"),
        (writes, "haproxy_ingress.cli", "import shutil"),
        (reads, "haproxy_ingress.store", "open(path)"),
        (reads, "haproxy.plan", "path.read_text()"),
        (impurity, "haproxy.plan", "import time"),
        (impurity, "haproxy.render", "from logging import getLogger"),
        (impurity, "haproxy_ingress.annotations.limits", "import random"),
        (impurity, "haproxy_ingress.merge", "from os import environ"),
        (impurity, "haproxy_ingress.merge", "os.environ['A']"),
        (impurity, "haproxy_ingress.translate", "datetime.now(tz=UTC)"),
        (impurity, "haproxy_ingress.translate", "datetime.datetime.now()"),
        (impurity, "haproxy_ingress.store", "def f():\n    global count"),
        (length, "haproxy.model", "x = 1\n" * (MAX_LINES + 1)),
    ],
)
def test_a_breach_is_found(check: Check, module: str, source: str) -> None:
    assert list(check(module, source))


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (disorder, "haproxy.plan", "from haproxy.model import Config"),
        (disorder, "haproxy.__init__", "from haproxy.plan import plan"),
        (disorder, "haproxy_ingress.merge", "from haproxy.plan import plan"),
        (disorder, "haproxy_ingress.sources.memory", "from haproxy_ingress.sources import Change"),
        (disorder, "haproxy_ingress.sources.memory", "from . import Change"),
        (world, "haproxy_ingress.kinds", "from socket import AF_INET6"),
        (world, "haproxy_ingress.kube.watch", "import kubernetes"),
        (writes, "haproxy.local", "path.write_bytes(data)"),
        (writes, "haproxy_ingress.cli", "open(path)"),
        (writes, "haproxy_ingress.cli", "os.open(path, os.O_RDONLY | os.O_CLOEXEC)"),
        (writes, "haproxy_ingress.daemon", "StateDirectory.open(layout)"),
        (writes, "haproxy_ingress.sources.manifests", "catalogue.replace(fresh)"),
        (writes, "haproxy_ingress.merge", "name.replace('a', 'b'); names.remove(name)"),
        (reads, "haproxy_ingress.sources.manifests", "path.read_bytes()"),
        (impurity, "haproxy.runtime", "import time"),
        (impurity, "haproxy_ingress.resources", "datetime.fromisoformat(text)"),
        (length, "haproxy.model", "x = 1\n" * MAX_LINES),
    ],
)
def test_what_is_allowed_is_no_breach(check: Check, module: str, source: str) -> None:
    assert not list(check(module, source))


def test_both_packages_are_looked_at() -> None:
    assert {module.split(".")[0] for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("check", LAWS)
def test_the_law_holds(check: Check) -> None:
    breaches = [breach for module, source in MODULES.items() for breach in check(module, source)]
    assert not breaches, "\n".join(breaches)


# Bracketed so that none of the expressions matches itself.
FOREIGN = re.compile(
    r"""
    [/]work/(main|shared) | [.][.]/shared | [/]root/ | [/]home/[a-z]
    | \b([f]acts|[d]esign)/[a-z-]+\.md
    | \b([d]ebian|[p]ypi|[p]ythonhosted|[n]pmjs|[g]olang)\.(org|com|io)\b
    """,
    re.VERBOSE,
)


def foreign_names(text: str) -> list[str]:
    return [match.group() for match in FOREIGN.finditer(text)]


@pytest.mark.parametrize(
    "text",
    [
        "see ." + "./shared/tools",
        "cd /" + "work/main",
        "/" + "root/.cache",
        "https://" + "deb.debian" + ".org/debian",
        "pypi" + ".org/simple",
        "design" + "/contract.md",
    ],
)
def test_a_foreign_name_is_found(text: str) -> None:
    assert foreign_names(text)


def test_no_file_names_this_machine_or_a_registry() -> None:
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    names = listing.stdout.rstrip("\0").split("\0")
    assert "setup.cfg" in names
    found = {
        name: foreign
        for name in names
        if (ROOT / name).is_file()
        and (foreign := foreign_names((ROOT / name).read_text(errors="replace")))
    }
    assert not found
