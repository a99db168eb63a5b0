"""The command as its user meets it: output, one clear line for a mistake, and exit codes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from haproxy_ingress.options import Options, variable
from haproxy_ingress.settings import knobs

GOOD = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.1.2.3], targetRef: {kind: Pod, name: web-a}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default}
spec:
  ingressClassName: haproxy
  defaultBackend: {service: {name: web, port: {number: 80}}}
"""
NOT_YAML = "a: [\n"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def command(
    *arguments: str | Path, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HAPROXY_INGRESS_")}
    return subprocess.run(
        [sys.executable, "-m", "haproxy_ingress", *map(str, arguments)],
        input=stdin,
        env=environment | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_render_prints_the_configuration_first(good: Path) -> None:
    done = command("render", good)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# ---- haproxy.cfg\n")
    assert re.search(r"^backend default_web_80 from p-", done.stdout, re.MULTILINE)
    assert re.search(r"^ +server web-a 10\.1\.2\.3:8080 ", done.stdout, re.MULTILINE)
    assert "# ---- maps/" in done.stdout


def test_render_reads_standard_input(good: Path) -> None:
    assert command("render", "-", stdin=GOOD).stdout == command("render", good).stdout


def test_render_writes_the_files(good: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    for _ in range(2):  # also over what it wrote before
        done = command("render", good, "--out", out)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    printed = command("render", good).stdout
    names = re.findall(r"^# ---- (.*)$", printed, re.MULTILINE)
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == set(names)
    assert (out / "haproxy.cfg").read_text() in printed


def test_an_error_is_reported_and_the_rest_rendered(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(NOT_YAML)
    done = command("render", good, bad)
    assert done.returncode == 1
    assert "backend default_web_80" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: File ")
    assert "bad.yaml" in line


def test_a_reader_that_has_had_enough_is_no_traceback(good: Path) -> None:
    pipe = subprocess.run(
        f"{sys.executable} -m haproxy_ingress render {good} | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert pipe.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["render"], "Missing argument 'PATH...'."),
        (["render", "/nope"], "PATH: /nope: no such file or folder"),
        (
            ["render", "/dev/null", "--haproxy-version", "2.4"],
            "--haproxy-version: HAProxy version: '2.4' is not allowed; allowed: 2.6 and later",
        ),
        (["sing"], "No such command 'sing'."),
        (["run", "--nope"], "No such option '--nope'."),
        (["run", "--manifests"], "Option '--manifests' requires an argument."),
        (
            ["run"],
            "--manifests: a source of objects is needed; allowed: a file or folder to watch",
        ),
        (["run", "--manifests", "/nope"], "--manifests: /nope: no such file or folder"),
        (
            ["run", "--manifests", "/dev", "--http-port", "x"],
            "--http-port: 'x' is not allowed; allowed: a whole number, 0 to 65535",
        ),
        (
            ["run", "--manifests", "/dev", "--log-format", "xml", "--admin-port", "a"],
            (
                "--admin-port: 'a' is not allowed; allowed: a whole number, 0 to 65535; "
                "--log-format: 'xml' is not allowed; allowed: one of text, json"
            ),
        ),
        (
            ["run", "--manifests", "/dev", "--haproxy", "/nope"],
            "--haproxy: /nope: no such program",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = command(*arguments, HAPROXY_INGRESS_STATE_DIR=str(tmp_path / "state"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"haproxy-ingress: {said}\n"


def test_a_wrong_variable_is_one_line_and_2() -> None:
    done = command("run", HAPROXY_INGRESS_MANIFESTS="/dev", HAPROXY_INGRESS_SHUTDOWN_DELAY="soon")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "haproxy-ingress: HAPROXY_INGRESS_SHUTDOWN_DELAY: 'soon' is not allowed; allowed: a time"
    )
    assert done.stderr.count("\n") == 1


def test_a_failure_is_one_line_and_1(good: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = command("render", good, "--out", file / "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"haproxy-ingress: --out: {file / 'out'}: Not a directory\n"


def test_no_command_is_help_and_2() -> None:
    done = command()
    assert done.returncode == 2
    assert "Usage: haproxy-ingress" in done.stderr


def test_version() -> None:
    done = command("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"haproxy-ingress, version \S+\n", done.stdout)


def test_every_option_is_in_the_help_with_its_variable() -> None:
    text = "".join(command("run", "--help").stdout.split())  # which may be wrapped anywhere
    for knob in knobs(Options):
        assert f"--{knob.key}" in text
        assert f"[{variable(knob.key)}]" in text
