"""No text in any field of any object changes the shape of what HAProxy is given.

What an object may add is known: backends, their servers, rows of maps, lines of the crt-list and
certificates. Everything else is, byte for byte, as it is without any object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from haproxy.capabilities import Capabilities
from haproxy.commands import lines
from haproxy.ids import resolved
from haproxy.model import Config
from haproxy.ops import ReplaceMap
from haproxy.plan import plan
from haproxy.protocol import encode
from haproxy.render import CONFIG_FILE, render
from haproxy_ingress.diagnostics import Diagnostic, Ref
from haproxy_ingress.pipeline import Pipeline, compile_config
from haproxy_ingress.resources import Resource
from haproxy_ingress.selfsigned import self_signed
from haproxy_ingress.sources import Change
from haproxy_ingress.sources.memory import MemorySource
from haproxy_ingress.tls import CRT_LIST
from haproxy_ingress.translate import Settings
from tests.haproxy_ingress.hostile import NASTY, at, places, put, renamed, texts, words
from tests.integration.kit.certs import pair, secret

DAEMON = Settings(
    https_port=8443,
    default_certificate=self_signed(0.0),
    default_backend=("default", "web", ""),
    default_tls_secret=("default", "cert"),
    runtime_socket="/run/x.sock",
)
NETWORKING, DISCOVERY = "networking.k8s.io/v1", "discovery.k8s.io/v1"


def backend(service: str, **port: Any) -> dict[str, Any]:
    return {"service": {"name": service, "port": port}}


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "default", **more}


def rule(path: str, kind: str, to: dict[str, Any]) -> dict[str, Any]:
    return {"path": path, "pathType": kind, "backend": to}


INGRESS = {
    "apiVersion": NETWORKING,
    "kind": "Ingress",
    "metadata": meta(
        "shop",
        creationTimestamp="2024-01-01T00:00:00Z",
        annotations={
            "haproxy-ingress.io/use-regex": "true",
            "haproxy-ingress.io/unheard-of": "of",
            "example.com/note": "said",
        },
    ),
    "spec": {
        "ingressClassName": "edge",
        "defaultBackend": backend("far", number=443),
        "rules": [
            {
                "host": "a.test",
                "http": {
                    "paths": [
                        rule("/exact", "Exact", backend("web", number=80)),
                        rule("/prefix", "Prefix", backend("web", name="grpc")),
                        rule("/r[0-9]+", "ImplementationSpecific", backend("web", name="http")),
                        rule("/bucket", "Prefix", {"resource": {"kind": "Bucket", "name": "b"}}),
                    ]
                },
            },
            {
                "host": "*.b.test",
                "http": {"paths": [rule("/", "Prefix", backend("web", number=80))]},
            },
        ],
        "tls": [{"hosts": ["a.test", "*.b.test"], "secretName": "cert"}],
    },
}  # fmt: skip
OBJECTS = (
    INGRESS,
    {
        "apiVersion": NETWORKING,
        "kind": "IngressClass",
        "metadata": {
            "name": "edge",
            "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
        },
        "spec": {"controller": "haproxy-ingress.io/controller"},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta("web"),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "ipFamilies": ["IPv4"],
            "ports": [
                {"port": 80, "name": "http", "targetPort": "pod-port", "protocol": "TCP"},
                {"port": 81, "name": "grpc", "appProtocol": "kubernetes.io/h2c"},
            ],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta("far"),
        "spec": {"type": "ExternalName", "externalName": "far.test", "ports": [{"port": 443}]},
    },
    {
        "apiVersion": DISCOVERY,
        "kind": "EndpointSlice",
        "metadata": meta("web-1", labels={"kubernetes.io/service-name": "web"}),
        "addressType": "IPv4",
        "ports": [
            {"name": "http", "port": 8080, "protocol": "TCP"},
            {"name": "grpc", "port": 8081},
        ],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "web-0"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
        ],
    },
    secret("cert", pair("a.test")),
)  # fmt: skip
TEXTS = sorted(set(words(OBJECTS)) - {text for text in words(OBJECTS) if len(text) > 200})


def parsed(objects: Iterable[object]) -> tuple[Change, ...]:
    """As a source reads them."""
    found: list[Change] = []
    source = MemorySource()
    source.start(found.extend, lambda: None)
    source.put_all(objects)
    return tuple(found)


RESOURCES: tuple[Resource, ...] = tuple(
    change.resource for change in parsed(OBJECTS) if change.resource
)
RESOURCE_TEXTS = sorted({text for text in words(RESOURCES) if len(text) < 200})


def compiled(changes: Sequence[Change]) -> tuple[Config, tuple[Diagnostic, ...]]:
    """With the ids that its servers would have on a HAProxy that just started."""
    pipeline = Pipeline(DAEMON)
    pipeline.update(changes)
    return resolved(pipeline.config, Config()), tuple(pipeline.diagnostics())


EMPTY, _ = compile_config((), DAEMON)
NOTHING = render(EMPTY).files

NAME = rb"[A-Za-z0-9_.:-]{1,255}"
HEAD = re.compile(rb"backend (%s) from p-[0-9a-f]{10}" % NAME)
SERVER = re.compile(
    rb"  server %s (?:[0-9.]+|\[[0-9a-f:.]+\]):\d+ id \d+ weight \d+(?: proto h2)?(?: disabled)?"
    % NAME
)
WORD = rb"[^\x00-\x20\x7f]+"
ROW = re.compile(rb"(?!#)%s %s" % (WORD, WORD))
CERTIFICATE = rb"certs/[a-z0-9_.-]+\.pem"
SERVED = re.compile(rb"%s [a-z0-9.*-]+" % CERTIFICATE)


def check_files(config: Config) -> None:
    files = dict(render(config).files)
    check_config(files.pop(CONFIG_FILE), config)
    for name, of in config.maps.items():
        rows = files.pop(name).split(b"\n")
        assert rows.pop() == b""
        assert len(rows) == len(of.rows)
        if name in NOTHING and not EMPTY.maps[name].rows:
            assert all(ROW.fullmatch(row) for row in rows), rows
        else:
            assert of == EMPTY.maps[name]
    listed = files.pop(CRT_LIST, b"\n").split(b"\n")
    assert all(SERVED.fullmatch(line) for line in listed[1:-1]), listed
    assert all(re.fullmatch(CERTIFICATE, name.encode()) for name in files)
    assert files.keys() == config.certificates.keys()


def check_config(text: bytes, config: Config) -> None:
    """Without the backends that the objects asked for, it is what it is without objects."""
    ours = config.backends.keys() - EMPTY.backends.keys()
    kept, backends, servers = [], 0, 0
    for section in re.findall(rb".+?\n\n", text, re.DOTALL):
        head, *body = section.rstrip(b"\n").split(b"\n")
        match = HEAD.fullmatch(head)
        if match and match[1].decode() in ours:
            backends += 1
            servers += len(body)
            assert all(SERVER.fullmatch(line) for line in body), section
        else:
            kept.append(section)
    assert undescribed(b"".join(kept)) == undescribed(NOTHING[CONFIG_FILE])
    assert backends == len(ours)
    assert servers == sum(len(config.backends[name].servers) for name in ours)


def undescribed(text: bytes) -> bytes:
    """Without the hash of what it holds."""
    made, count = re.subn(rb"'haproxy-ingress [0-9a-f]{16}'", b"", text)
    assert count == 1
    return made


# How many words HAProxy has to see in each command, without the options of a server.
WORDS = {
    ("add", "server"): 8, ("enable", "server"): 3, ("set", "server"): 5, ("del", "server"): 3,
    ("add", "backend"): 5, ("publish", "backend"): 3, ("unpublish", "backend"): 3,
    ("del", "backend"): 3, ("add", "map"): 5, ("set", "map"): 5, ("del", "map"): 4,
    ("prepare", "map"): 3, ("commit", "map"): 4, ("new", "ssl"): 4, ("commit", "ssl"): 4,
    ("set", "ssl"): 5, ("add", "ssl"): 5, ("show", "ssl"): 5, ("del", "ssl"): 4,
}  # fmt: skip


def split(line: str) -> list[str]:
    """A command's words, as HAProxy tells them apart."""
    return re.findall(r"(?:\\.|[^\\ ])+", line, re.DOTALL)


def check_command(command: str) -> None:
    encode(command)
    line, _, payload = command.partition("\n")
    kind, what, *rest = split(line)
    options = rest[6:] if (kind, what) == ("add", "server") else []
    assert len(rest) + 2 - len(options) == WORDS[kind, what], command
    assert set(options) <= {"proto", "h2"}
    assert not re.search(r"[\x00-\x1f\x7f]", line)
    if what == "map" and payload:
        assert all(len(row.split(" ")) == 2 for row in payload.splitlines())
    if (kind, what) == ("add", "ssl"):
        assert len(payload.splitlines()) == 1
        assert SERVED.fullmatch(payload.rstrip("\n").encode())


def check_commands(running: Config, desired: Config) -> int:
    """What brings a HAProxy from one to the other; returns how many commands that takes."""
    count = 0
    # On 2.6 rows would wait for backends that only a reload can bring.
    bare = {name: evolve(of, servers={}) for name, of in desired.backends.items()}
    here = evolve(running, backends={**bare, **running.backends})
    for start, version in ((here, (2, 6)), (running, (3, 4))):
        for step in plan(start, desired, Capabilities(version)).steps:
            commands = lines(step.op, 7 if isinstance(step.op, ReplaceMap) else 0)
            for command in commands:
                check_command(command)
            count += len(commands)
    return count


def check(changes: Sequence[Change]) -> tuple[Diagnostic, ...]:
    config, found = compiled(changes)
    check_files(config)
    check_commands(EMPTY, config)
    check_commands(config, EMPTY)
    for diagnostic in found:
        assert len(str(diagnostic)) < 4_000
    return found


def handed_over(resources: Iterable[Resource]) -> tuple[Change, ...]:
    """As a program may do it, past all parsing."""
    return tuple(Change(one.ref, one, 0.0) for one in resources)


def test_harmless_objects_use_everything() -> None:
    """Or else the tests below would hold for want of anything to break."""
    config, found = compiled(parsed(OBJECTS))
    assert [one.why for one in found] == ["AnnotationUnknown", "Unsupported"]
    assert len(config.backends.keys() - EMPTY.backends.keys()) == 3
    assert all(of.rows for name, of in config.maps.items() if name != "maps/trusted.map")
    assert len(config.certificates) == 2
    assert config.crt_lists[CRT_LIST].served
    assert check_commands(EMPTY, config) > 20
    assert check_commands(config, EMPTY) > 20
    assert compiled(handed_over(RESOURCES)) == (config, found)


names = st.dictionaries(st.sampled_from(TEXTS), texts, min_size=1, max_size=4)
resource_names = st.dictionaries(st.sampled_from(RESOURCE_TEXTS), texts, min_size=1, max_size=4)


@settings(deadline=None, max_examples=200)
@given(names)
def test_of_parsed_objects(given: dict[str, str]) -> None:
    check(parsed(renamed(OBJECTS, given)))


@settings(deadline=None, max_examples=200)
@given(resource_names)
def test_of_resources(given: dict[str, str]) -> None:
    check(handed_over(renamed(RESOURCES, given)))


@pytest.mark.parametrize("nasty", NASTY)
def test_each_in_every_place(nasty: str) -> None:
    for text in RESOURCE_TEXTS:
        config, _ = compiled(handed_over(renamed(RESOURCES, {text: nasty})))
        check_files(config)


WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**70,
    float("nan"),
    b"\xff",
    "",
    "x",
    (),
    [],
    {},
    {"a": 1},
    (1,),
)


@pytest.mark.parametrize("number", range(len(RESOURCES)))
def test_a_resource_of_wrong_types_breaks_nothing(number: int) -> None:
    """Whatever its annotations forbid; the others are as they were."""
    good = RESOURCES[number]
    for place in places(good):
        for wrong in WRONG:
            if place and at(good, place) != wrong:
                resource = put(good, place, wrong)
                others = (*RESOURCES[:number], *RESOURCES[number + 1 :])
                check((Change(good.ref, resource, 0.0), *handed_over(others)))


def test_what_is_no_resource_at_all() -> None:
    wrong: Any = {"kind": "Ingress"}
    ref = Ref("Ingress", "default", "x")
    (found,) = (one for one in check((Change(ref, wrong, 0.0),)) if one.ref == ref)
    assert "allowed: a resource" in found.message


@pytest.mark.parametrize("name", ["../../x", "a/b", "a\nb", "x" * 300, "A", "", "a_b"])
def test_no_file_is_named_after_what_is_no_name(name: str) -> None:
    cert = RESOURCES[-1]
    secret = evolve(cert, meta=evolve(cert.meta, name=name))
    shop = renamed(RESOURCES[0], {"cert": name})
    found = check(handed_over((shop, secret, *RESOURCES[1:-1])))
    assert any(one.ref.kind == "Secret" and one.field == "meta.name" for one in found)
