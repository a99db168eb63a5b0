"""The command ``haproxy-ingress``: its arguments, its output and its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import click

from haproxy.capabilities import Capabilities
from haproxy.errors import FilesFailed, InvalidValue
from haproxy.files import write_tree
from haproxy.ids import resolved
from haproxy.model import Config
from haproxy.render import CONFIG_FILE, render
from haproxy_ingress import daemon, logs
from haproxy_ingress.diagnostics import Diagnostic, Level
from haproxy_ingress.grammars import BOOL, Repeated
from haproxy_ingress.options import Options, options, variable
from haproxy_ingress.pipeline import compile_config
from haproxy_ingress.settings import Knob, knobs
from haproxy_ingress.sources.manifests import STDIN, read_paths
from haproxy_ingress.translate import Settings

PROGRAM = "haproxy-ingress"
ERROR, USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0, 1 for an error, 2 for wrong usage or settings."""
    try:
        code = cli.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = USAGE
    except click.ClickException as error:
        click.echo(f"{PROGRAM}: {_line(error.format_message())}", err=True)
        code = error.exit_code
    except click.Abort:
        code = ERROR
    except BrokenPipeError:
        # Whoever read us has had enough; unless closed, the interpreter says so at its end.
        with suppress(BrokenPipeError):
            sys.stdout.close()
        code = ERROR
    sys.exit(code)


def _line(text: str) -> str:
    return " ".join(text.split())


def _version() -> str:
    try:
        return version(PROGRAM)
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version())
def cli() -> None:
    """HAProxy behind Kubernetes Ingress, changed at runtime instead of by reload."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for knob in reversed(knobs(Options)):
        command = _option(knob)(command)
    return command


def _option(knob: Knob) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name = f"--{knob.key}"
    default = f" [default: {knob.default}]" if knob.default else ""
    text = f"{knob.doc}{default} [{variable(knob.key)}]"
    if knob.grammar is BOOL:
        return click.option(name, knob.name, flag_value="true", help=text)
    multiple = isinstance(knob.grammar, Repeated)
    return click.option(name, knob.name, multiple=multiple, metavar=knob.grammar.metavar, help=text)


@cli.command()
@_options
def run(**given: str | tuple[str, ...] | None) -> None:
    """Serve Ingresses through a HAProxy of our own until SIGTERM or SIGINT.

    Every flag is also an environment variable, in brackets; repeated ones are separated by commas
    there. The flag wins.
    """
    flags = {knob.key: value for knob in knobs(Options) if (value := given[knob.name])}
    chosen, problems = options(flags, os.environ)
    if problems:
        raise click.UsageError("; ".join(map(str, problems)))
    _must_exist("--manifests", chosen.manifests)
    logs.set_up(chosen.log_level, chosen.log_format)
    try:
        daemon.run(chosen, _version())
    except daemon.BadSetting as error:
        raise click.UsageError(str(error)) from error
    except daemon.Failed as error:
        raise click.ClickException(str(error)) from error


@cli.command(name="render")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--out", metavar="DIR", help="Write the files there instead of printing them.")
@click.option(
    "--haproxy-version",
    "release",
    default="3.4",
    show_default=True,
    metavar="VERSION",
    help="The HAProxy that the configuration is for.",
)
def render_command(paths: tuple[str, ...], out: str | None, release: str) -> int:
    """Print haproxy.cfg and the other files that come of manifests.

    PATHs are files and folders; - is standard input. What is wrong with the objects goes to
    stderr; an error among it makes the exit code 1.
    """
    try:
        Capabilities.of(release)
    except InvalidValue as error:
        raise click.UsageError(f"--haproxy-version: {error}") from error
    _must_exist("PATH", [Path(path) for path in paths if path != STDIN])
    resources, unreadable = read_paths([Path(path) for path in paths])
    config, found = compile_config(resources, Settings())
    files = render(resolved(config, Config())).files
    if out is None:
        _print(files)
    else:
        _write(Path(out), files)
    return _report((*unreadable, *found))


def _must_exist(what: str, paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise click.UsageError(f"{what}: {path}: no such file or folder")


def _print(files: Mapping[str, bytes]) -> None:
    """All files, each under a comment with its name, haproxy.cfg first."""
    stdout = sys.stdout.buffer
    for name in sorted(files, key=lambda name: (name != CONFIG_FILE, name)):
        stdout.write(f"# ---- {name}\n".encode() + files[name] + b"\n")
    stdout.flush()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        write_tree(folder, files)
    except FilesFailed as error:
        raise click.ClickException(f"--out: {error}") from error


def _report(found: Iterable[Diagnostic]) -> int:
    """Say on stderr what is wrong. Returns the exit code."""
    worst = 0
    for one in found:
        click.echo(_line(f"{one.level}: {one}"), err=True)
        worst = max(worst, ERROR if one.level is Level.ERROR else 0)
    return worst
