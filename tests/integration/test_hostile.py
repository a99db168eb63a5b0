"""A folder of hostile manifests beside good ones: the good ones are served, the others judged.

Each hostile file is one that somebody could write. What is wrong with it is said by object, field
and what is allowed; nothing of it stops a change to another object.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.integration.kit.certs import pair, secret
from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.objects import Object, endpoints, ingress, meta, service
from tests.integration.kit.pods import Pods

POD, OTHER = "127.64.0.1", "127.64.0.2"
HUGE = 100_000
WRONG: tuple[Any, ...] = (None, True, -1, 10**30, 1.5, float("nan"), "\r", [1], {"a": [None]})

Found = dict[str, str]  # a diagnostic, as the API has it


def good(pods: Pods, address: str = POD) -> list[Object]:
    return [
        service("web"),
        endpoints("web", [address], pods.port),
        ingress("good", "good.test", {"/": "web"}),
    ]


def shop(name: str, **changes: Any) -> Object:
    """An Ingress like the good one but for *changes*: host, path, kind, service, secret, regex."""
    made = ingress(name, changes.get("host", f"{name}.test"), {"/": "web"})
    first = made["spec"]["rules"][0]["http"]["paths"][0]
    first["path"] = changes.get("path", "/")
    first["pathType"] = changes.get("kind", "Prefix")
    first["backend"]["service"]["name"] = changes.get("service", "web")
    if "secret" in changes:
        made["spec"]["tls"] = [{"secretName": changes["secret"]}]
    if "regex" in changes:
        made["metadata"]["annotations"] = {"haproxy-ingress.io/use-regex": "true"}
        first.update(path=changes["regex"], pathType="ImplementationSpecific")
    return made


PATH, HOST = "spec.rules[0].http.paths[0].path", "spec.rules[0].host"
SERVICE = "spec.rules[0].http.paths[0].backend.service.name"
BACKEND = "spec.rules[0].http.paths[0].backend"

# What is wrong with each, by the field that is named; "" is the file, where no object has a name.
OBJECTS: dict[str, tuple[Object, str]] = {
    "carriage": (shop("carriage", path="/a\rserver x"), PATH),
    "newline": (shop("newline", path="/a\n  server x 1.2.3.4:80"), PATH),
    "nul": (shop("nul", path="/a\x00b"), PATH),
    "separator": (shop("separator", host="a\u2028b.test"), HOST),
    "escape": (shop("escape", service="w\x1b[2Jeb"), SERVICE),
    "huge-host": (shop("huge-host", host="a" * HUGE), HOST),
    "huge-path": (shop("huge-path", path="/" + "a" * HUGE), PATH),
    "huge-service": (shop("huge-service", service="a" * HUGE), SERVICE),
    "expression-host": (shop("expression-host", host="%[env(HOME)]"), HOST),
    "variable-host": (shop("variable-host", host="${HOME}.test"), HOST),
    "flag-host": (shop("flag-host", host="-f /etc/passwd"), HOST),
    "quoted-host": (shop("quoted-host", host="'\""), HOST),
    "unicode-host": (shop("unicode-host", host="b\u00fccher.test"), HOST),
    "words-host": (shop("words-host", host=" ".join(["a.test"] * 70)), HOST),
    "upwards": (shop("upwards", secret="../../../etc/passwd"), "spec.tls[0].secretName"),
    "broken-regex": (shop("broken-regex", regex="/(["), PATH),
    "leaving-regex": (shop("leaving-regex", regex="/)|.*"), PATH),
    "relative": (shop("relative", path="etc/passwd"), PATH),
    "flag-service": (shop("flag-service", service="-f /etc/passwd"), BACKEND),
    "expression-service": (shop("expression-service", service="%[env(HOME)]"), BACKEND),
}
# Odd, and nothing is wrong with them: each is a path that is matched as it is written.
ODD = {
    "expression": "/%[env(HOME)]",
    "variable": "/$HOME${PATH}",
    "flag": "/-f /etc/passwd",
    "quote": "/'\"\\'",
    "hash": "/a # b",
    "braces": "/x{ alias /var/run/secrets; }",
    "words": "/" + " ".join(["word"] * 70),
    "unicode": "/b\u00fccher",
}
BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HEAD = "apiVersion: v1\nkind: Service\nmetadata: {name: file-x, namespace: default}\n"
FILES: dict[str, tuple[str, str]] = {
    "cyclic": (HEAD + "spec: &a {ports: [*a]}\n", "an alias inside"),
    "bomb": (BOMB, "more than 1000000 values"),
    "deep": ("[" * HUGE, "nested more than 100"),
    "twice": (HEAD + "kind: Ingress\n", "stands twice"),
    "binary": (HEAD + "spec: !!binary aGk=\n", "allowed: a mapping"),
    "bytes": (HEAD + "spec: {clusterIP: !!binary aGk=}\n", "allowed: a text"),
    "code": (HEAD + "spec: !!python/object/apply:os.system [id]\n", "tag"),
    "date": (HEAD + "spec: {clusterIP: !!timestamp 2024-01-01}\n", "allowed: a text"),
    "nan": (HEAD + "spec: {ports: [{port: .nan}]}\n", "1 to 65535"),
    "integer": (HEAD + f"spec: {{ports: [{{port: {'9' * 4000}}}]}}\n", "1 to 65535"),
    "digits": (HEAD + f"spec: {{ports: [{{port: {'9' * 9000}}}]}}\n", "does not fit its tag"),
    "negative": (HEAD + "spec: {ports: [{port: -80}]}\n", "1 to 65535"),
    "items": (HEAD + f"spec: {{ports: [{'{port: 80}, ' * 10_001}]}}\n", "at most 10000 items"),
    "upwards": (HEAD.replace("file-x", "../../x"), "lower-case letters"),
    "namespace": (HEAD.replace("default", "../x"), "lower-case letters"),
    "long-name": (HEAD.replace("file-x", "a" * HUGE), "at most 253 bytes"),
    "no-object": ("just words", "a mapping with apiVersion and kind"),
    "latin": ("a: \udcff", "not UTF-8"),
}


@pytest.fixture(scope="module")
def besieged(echo: Pods) -> Iterator[Daemon]:
    """The good manifests, and then the hostile ones, all at once."""
    with running({"good.yaml": good(echo)}) as daemon:
        besiege(daemon)
        daemon.write("last.yaml", shop("last", service="none"))
        daemon.wait_for(lambda: any(one["name"] == "last" for one in found(daemon)))
        yield daemon


def besiege(daemon: Daemon) -> None:
    for name, (made, _) in OBJECTS.items():
        daemon.write(f"{name}.json", json.dumps(made))
    for name, path in ODD.items():
        daemon.write(f"odd-{name}.yaml", shop(f"odd-{name}", path=path))
    for name, (text, _) in FILES.items():
        raw = daemon.base / "raw"
        named = text.replace("file-x", f"file-{name}")
        raw.write_bytes(named.encode(errors="surrogateescape"))
        raw.replace(daemon.manifests / f"file-{name}.yaml")
    huge = daemon.base / "huge"
    with huge.open("wb") as file:
        file.truncate(200 * 2**20)
    huge.replace(daemon.manifests / "huge.yaml")


def found(daemon: Daemon) -> list[Found]:
    diagnostics: list[Found] = daemon.admin("/api/v1/status").json()["diagnostics"]
    return diagnostics


def answers(daemon: Daemon, path: str, host: str, what: str) -> bool:
    return daemon.pod(path, host) == what


def unharmed(daemon: Daemon) -> None:
    assert daemon.pod("/", "good.test") == POD
    daemon.loadable()


def test_the_good_are_served(besieged: Daemon) -> None:
    unharmed(besieged)
    for name in (name for name in OBJECTS if "regex" in name):
        assert besieged.pod("/anything", f"{name}.test").startswith("status 4")


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_wrong_with_an_object_is_said(besieged: Daemon, name: str) -> None:
    said = next(one for one in found(besieged) if one["name"] == name)
    assert said["field"] == OBJECTS[name][1]
    assert "allowed: " in said["message"] or "does not exist" in said["message"]
    assert len(said["message"]) < 400
    logged = [line for line in besieged.printed.splitlines() if f"default/{name}:" in line]
    assert len(logged) == 1, logged


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_with_a_file_is_said(besieged: Daemon, name: str) -> None:
    """By the object where it has a name, else by the file."""
    named = {f"file-{name}", str(besieged.manifests / f"file-{name}.yaml")}
    messages = [one["message"] for one in found(besieged) if one["name"] in named]
    assert any(FILES[name][1] in message for message in messages), messages
    assert all(len(message) < 400 for message in messages)


def test_a_huge_file_is_not_read(besieged: Daemon) -> None:
    path = str(besieged.manifests / "huge.yaml")
    (said,) = (one for one in found(besieged) if one["name"] == path)
    assert said["message"] == "more than 8388608 bytes; split the file"
    status = (besieged.base / "../..").resolve() / f"proc/{besieged.process.pid}/status"
    peak_kb = next(
        int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line
    )
    assert peak_kb < 200 * 1024


@pytest.mark.parametrize("pattern", ["/(a+)+$", "/(a|aa)+$", "/(.*)*b"])
def test_an_exponential_regex_gives_up(besieged: Daemon, pattern: str) -> None:
    """PCRE2 counts its steps; a request that would need too many is no match."""
    sane = f"/sane{len(pattern)}"
    besieged.write("exponential.yaml", shop("exponential", regex=f"{pattern}|{sane}"))
    besieged.wait_for(partial(answers, besieged, sane, "exponential.test", POD))
    assert besieged.pod("/" + "a" * 2_000 + "!", "exponential.test") == "status 404"
    unharmed(besieged)


@pytest.mark.parametrize("name", ODD)
def test_what_is_only_odd_is_matched_as_written(besieged: Daemon, name: str) -> None:
    encoded = "".join(
        chr(byte) if 0x21 <= byte < 0x7F and byte not in b'"#<>?`{}%' else f"%{byte:02X}"
        for byte in ODD[name].encode()
    )
    assert besieged.pod(encoded, f"odd-{name}.test") == POD
    assert besieged.pod("/other", f"odd-{name}.test") == "status 404"


def test_the_log_says_little(besieged: Daemon) -> None:
    lines = besieged.printed.splitlines()
    hostile = len(OBJECTS) + len(FILES) + 2
    assert len(lines) < 5 * hostile
    assert max(map(len, lines)) < 4_000


def test_a_change_to_a_good_one_gets_through(besieged: Daemon, echo: Pods) -> None:
    before = besieged.served()
    besieged.write("good.yaml", good(echo, OTHER))
    besieged.wait_for(lambda: besieged.pod("/", "good.test") == OTHER)
    besieged.write("good.yaml", good(echo))
    besieged.wait_for(lambda: besieged.pod("/", "good.test") == POD)
    assert besieged.served() == before
    newest = besieged.decisions()[0]
    assert (newest["action"], newest["result"]) == ("runtime", "ok")


def test_what_is_wrong_is_not_said_twice(besieged: Daemon) -> None:
    """A file that is written again as it was is no news."""
    before = besieged.printed.count("odd-twice")
    made = shop("odd-twice", service="none", path="/1")
    besieged.write("odd-twice.yaml", made)
    besieged.wait_for(lambda: besieged.printed.count("Ingress default/odd-twice: ") > before)
    count = besieged.printed.count("Ingress default/odd-twice: ")
    for path in ("/2", "/3"):
        made["spec"]["rules"][0]["http"]["paths"][0]["path"] = path
        besieged.write("odd-twice.yaml", made)
        besieged.wait_for(partial(answers, besieged, path, "odd-twice.test", "status 503"))
    assert besieged.printed.count("Ingress default/odd-twice: ") == count


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*place, key))


def each_wrong(valid: Object) -> Iterator[Object]:
    """*valid* with each of its parts replaced by each wrong value, under a name of its own."""
    for number, place in enumerate(leaves(valid)):
        for index, wrong in enumerate(WRONG):
            made = copy.deepcopy(valid)
            if place != ("metadata",):
                made["metadata"]["name"] += f"-{number}-{index}"
            part = made
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = wrong
            yield made


def full(pods: Pods) -> list[Object]:
    """One of each kind, with every field that we read."""
    web = service("kind-service", type="ClusterIP", clusterIP="10.0.0.1", ipFamilies=["IPv4"])
    web["spec"]["ports"][0] |= {"targetPort": "x", "appProtocol": "http", "protocol": "TCP"}
    slice_ = endpoints("kind-service", [POD], pods.port)
    slice_["metadata"]["labels"]["kubernetes.io/service-name"] = "elsewhere"
    of_class = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "kind-class", "annotations": {"x": "y"}},
        "spec": {"controller": "example.com/other"},
    }
    shop_ = shop("kind-ingress", secret="kind-secret")
    shop_["metadata"] |= {"creationTimestamp": "2024-01-01T00:00:00Z", "annotations": {"x": "y"}}
    shop_["spec"]["tls"][0]["hosts"] = ["kind-ingress.test"]
    shop_["spec"]["defaultBackend"] = {"resource": {"kind": "a", "name": "b"}}
    opaque = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta("kind-opaque"),
        "type": "Opaque",
    }
    opaque |= {"data": {"a": base64.b64encode(b"x").decode()}, "stringData": {"b": "x"}}
    return [web, slice_, of_class, shop_, secret("kind-secret", pair("kind.test")), opaque]


@pytest.mark.parametrize("kind", ["Service", "EndpointSlice", "IngressClass", "Ingress", "Secret"])
def test_wrong_types_in_every_field(echo: Pods, kind: str) -> None:
    valid = [one for one in full(echo) if one["kind"] == kind]
    made = [wrong for one in valid for wrong in each_wrong(one)]
    with running({"good.yaml": good(echo)}) as daemon:
        daemon.write("wrong.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
        daemon.write("more.yaml", shop("more", service="none"))
        daemon.wait_for(lambda: any(one["name"] == "more" for one in found(daemon)))
        unharmed(daemon)
        assert any(one["reason"] == "Invalid" for one in found(daemon))
        daemon.write("good.yaml", good(echo, OTHER))
        daemon.wait_for(lambda: daemon.pod("/", "good.test") == OTHER)
        assert len(daemon.printed.splitlines()) < 400
        status = daemon.admin("/api/v1/status").body
        assert len(status) < 2**20
