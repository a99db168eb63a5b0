"""What is in a Secret is told to nobody: planted marks are looked for in all that can be seen."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.kit.certs import Pair, pair, secret, served
from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.objects import Object, endpoints, ingress, meta, service
from tests.integration.kit.pods import Pods

POD = "127.65.0.1"
MARK = "Hunter2Planted"
ENCODED = base64.b64encode(MARK.encode()).decode()
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
POISON = "/x{70000}"  # no regular expression to HAProxy, which refuses it


def opaque(name: str, **fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta(name), **fields}


def tls(name: str, **data: Any) -> Object:
    return opaque(name, type="kubernetes.io/tls", data=data)


def broken(good: Pair) -> dict[str, Object]:
    """Each with the mark where it would be if it were whole."""
    chain = base64.b64encode(good.chain.encode()).decode()
    armoured = f"-----BEGIN PRIVATE KEY-----\n{ENCODED}\n-----END PRIVATE KEY-----\n"
    noted = opaque("noted", data={"a": ENCODED})
    noted["metadata"]["annotations"] = {LAST_APPLIED: f'{{"data":{{"a":"{MARK}"}}}}\r'}
    listed = opaque("annotated")
    listed["metadata"]["annotations"] = MARK
    made = (
        opaque("password", type="Opaque", data={"password": ENCODED}, stringData={"token": MARK}),
        tls("garbage", **{"tls.crt": chain, "tls.key": ENCODED}),
        tls("garbage-chain", **{"tls.crt": ENCODED, "tls.key": ENCODED}),
        opaque("armoured", type="kubernetes.io/tls", data={"tls.crt": chain})
        | {"stringData": {"tls.key": armoured}},
        tls("no-base64", **{"tls.crt": chain, "tls.key": f"{MARK}!"}),
        tls("listed", **{"tls.crt": [MARK], "tls.key": {MARK: MARK}}),
        opaque("data-is-text", data=MARK),
        opaque("data-is-a-list", stringData=[MARK]),
        opaque("surrogate", stringData={"a": f"{MARK}\ud800"}),
        opaque("control", stringData={"a": f"{MARK}\r\x00"}),
        opaque("huge", stringData={"a": MARK * 100_000}),
        noted,
        listed,
    )  # fmt: skip
    return {f"{one['metadata']['name']}.json": one for one in made}


FILES = {
    "unterminated.yaml": f'kind: Secret\ndata:\n  tls.key: "{MARK}\n',
    "tab.yaml": f"kind: Secret\ndata:\n\ttls.key: {MARK}\n",
    "twice.yaml": f"data:\n  a: {MARK}\n  a: {MARK}\n",
    "tag.yaml": f"data:\n  a: !!int {MARK}\n",
    "binary.yaml": f"data:\n  a: !!binary '{MARK}!'\n",
    "cut.json": f'{{"data": {{"a": "{MARK}',
    "double.json": f'{{"data": {{"a": "{MARK}", "a": "{MARK}"}}}}',
}


def secure(name: str, host: str) -> Object:
    made = ingress(name, host, {"/": "web"})
    made["spec"]["tls"] = [{"hosts": [host], "secretName": name}]
    return made


def body(good: Pair) -> str:
    """A line of the key that no other file has."""
    return good.key.splitlines()[2]


@pytest.fixture(params=["text", "json"])
def planted(request: pytest.FixtureRequest, echo: Pods) -> Iterator[tuple[Daemon, Pair, Pair]]:
    """A daemon that says all it can, with good and broken Secrets and what HAProxy refuses."""
    old, new = pair("good.test", algorithm="rsa"), pair("good.test", algorithm="rsa", key=1)
    web = [service("web"), endpoints("web", [POD], echo.port)]
    good = [*web, secret("good", old), secure("good", "good.test")]
    flags = ("--log-level", "debug", "--log-format", request.param)
    with running({"good.yaml": good}, *flags) as daemon:
        for name, made in broken(old).items():
            host = f"{name.partition('.')[0]}.test"
            daemon.write(name, json.dumps(made))
            daemon.write(f"of-{name}", json.dumps(secure(made["metadata"]["name"], host)))
        for name, text in FILES.items():
            daemon.write(name, text)
        daemon.write("clash.yaml", secret("good", old))
        poisoned = ingress(
            "poisoned", "p.test", {POISON: "web"}, {"haproxy-ingress.io/use-regex": "true"}
        )
        poisoned["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "ImplementationSpecific"
        daemon.write("poisoned.yaml", poisoned)
        daemon.wait_for(lambda: "Quarantined" in daemon.admin("/api/v1/status").body.decode())
        daemon.write("good.yaml", [*web, secret("good", new), secure("good", "good.test")])
        daemon.write("clash.yaml", secret("good", new))
        daemon.wait_for(lambda: served(daemon.https_port, "good.test").serial_number == new.serial)
        yield daemon, old, new


def holding(daemon: Daemon, text: str) -> list[Path]:
    """The files of its state that have *text* in them."""
    return [path for path in daemon.state.rglob("*") if text in content(path)]


def content(path: Path) -> str:
    """Of a file; generations of files come and go."""
    try:
        return path.read_text(errors="replace") if path.is_file() else ""
    except FileNotFoundError:
        return ""


def seen(daemon: Daemon) -> Iterator[tuple[str, str]]:
    """Everything that others may see, by where it is."""
    yield "printed", daemon.printed
    for page in ("/", "/metrics", "/api/v1/status", "/api/v1/decisions", "/readyz"):
        yield page, daemon.admin(page).body.decode()
    for line in daemon.left():
        for what in ("cmdline", "environ"):
            yield line, (Path("/proc") / line.split()[0] / what).read_bytes().decode()
    for path in sorted(daemon.state.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
                yield str(path), content(path)


def test_nobody_is_told(planted: tuple[Daemon, Pair, Pair]) -> None:
    daemon, old, new = planted
    marks = (
        MARK,
        ENCODED,
        body(old),
        body(new),
        base64.b64encode(body(new).encode()).decode()[4:40],
    )
    places = dict(seen(daemon))
    assert len(places) > 8
    leaks = [place for place, text in places.items() if any(mark in text for mark in marks)]
    assert not leaks, leaks


def test_only_the_key_in_service_is_on_disk(planted: tuple[Daemon, Pair, Pair]) -> None:
    """And nothing of a broken one; whoever may read it is only its owner."""
    daemon, _, new = planted
    daemon.wait_for(lambda: holding(daemon, body(new)))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in holding(daemon, body(new))}
    assert modes == {0o600}
    assert not holding(daemon, MARK)
    assert not holding(daemon, ENCODED)


def test_each_is_told_what_is_wrong(planted: tuple[Daemon, Pair, Pair]) -> None:
    daemon, old, _ = planted
    found = daemon.admin("/api/v1/status").json()["diagnostics"]
    named = {one["name"].rpartition("/")[2] for one in found}
    fine = {"password.json", "control.json", "noted.json", "annotated.json"}
    assert {name.partition(".")[0] for name in broken(old).keys() - fine} <= named
    assert FILES.keys() <= named
