"""No representation and no exception shows what is in a Secret, and no file here holds a key."""

from __future__ import annotations

import base64
import logging
import pkgutil
import re
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest

import haproxy
import haproxy_ingress
from haproxy.commands import lines
from haproxy.errors import HAProxyError
from haproxy.model import Certificate, Config
from haproxy.ops import AddCertificate, SetCertificate
from haproxy.protocol import Exchange, encode
from haproxy.render import render
from haproxy_ingress import kinds, logs, store
from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.parsing import parse
from haproxy_ingress.pipeline import Pipeline
from haproxy_ingress.reader import Node
from haproxy_ingress.resources import Meta, Secret
from haproxy_ingress.soundness import unsound
from haproxy_ingress.sources import Change
from haproxy_ingress.sources.memory import MemorySource
from haproxy_ingress.translate import Settings
from tests.integration.kit.certs import pair, secret

ROOT = Path(__file__).parent.parent
MARK = "Hunter2Planted"
REF = Ref("Secret", "default", "s")
PEM = f"-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n"
CERTIFICATE = Certificate("certs/default_s.pem", PEM, "AB")
CONFIG = Config(certificates={CERTIFICATE.name: CERTIFICATE})
SECRET = Secret(Meta("s", "default"), "Opaque", {"password": MARK.encode()})


def classes() -> Iterator[type]:
    for package in (haproxy, haproxy_ingress):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                for one in vars(import_module(found.name)).values():
                    if isinstance(one, type) and attrs.has(one) and one.__module__ == found.name:
                        yield one


@pytest.mark.parametrize(
    "cls", tuple(classes()), ids=lambda cls: f"{cls.__module__}.{cls.__name__}"
)
def test_no_class_shows_bytes(cls: type) -> None:
    """A field of bytes, of PEM or of commands is left out of its representation."""
    for one in attrs.fields(cls):
        of = str(one.type)
        payload = "bytes" in of and "Callable" not in of
        if payload or one.name == "pem" or (one.name == "commands" and "str" in of):
            assert one.repr is False, one.name


def exchange() -> Exchange:
    made = Exchange(lines(SetCertificate(CERTIFICATE)))
    made.to_send()
    return made


def pipeline() -> Pipeline:
    made = Pipeline(Settings())
    made.update([Change(SECRET.ref, SECRET, 0.0)])
    return made


def source() -> MemorySource:
    made = MemorySource()
    made.put(SECRET)
    return made


HOLDERS: tuple[Any, ...] = (
    *(SECRET, Change(REF, SECRET, 0.0), CERTIFICATE, CONFIG, render(CONFIG), exchange()),
    *(AddCertificate(CERTIFICATE), SetCertificate(CERTIFICATE), pipeline(), source()),
    Node({"data": {"password": MARK}}),
    parse(secret("s", password=MARK)),
)  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda one: type(one).__name__)
def test_what_holds_a_secret_does_not_show_it(holder: object) -> None:
    for text in (repr(holder), str(holder)):
        assert MARK not in text


@pytest.mark.parametrize(
    "payload",
    [PEM.rstrip(), PEM + "\n", PEM + "\x00\n", PEM * 1000, PEM + "\ud800\n", "\n" + PEM],
    ids=["open", "empty line", "nul", "long", "surrogate", "empty first"],
)
def test_an_error_about_a_command_does_not_show_its_payload(payload: str) -> None:
    with pytest.raises(HAProxyError) as caught:
        encode(f"set ssl cert x <<\n{payload}")
    error = caught.value
    for text in (str(error), repr(error), "".join(traceback.format_exception(error))):
        assert MARK not in text


@pytest.mark.parametrize("data", [{"a": MARK}, {b"a": MARK.encode(), "b": 1}, MARK, [MARK], None])
def test_a_resource_that_is_wrong_does_not_show_it(data: Any) -> None:
    wrong = attrs.evolve(SECRET, data=data)
    found = unsound(REF, wrong)
    assert found
    assert MARK not in str(found)
    annotated = attrs.evolve(SECRET, meta=Meta("s", "default", annotations={"a": f"{MARK}\r"}))
    assert MARK not in str(unsound(REF, annotated))


def read(made: Any) -> None:
    Pipeline(Settings()).update([Change(REF, parse(made).resource, 0.0)])


class TestADefectOfOurs:
    """What is raised in the middle of reading a Secret is told without the Secret."""

    @pytest.mark.parametrize("form", [logs.TextLines(), logs.JsonLines()])
    def test_in_translation(self, form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any, **__: Any) -> Any:
            raise RuntimeError("a defect")

        made = secret("s", pair("a.test"), password=MARK)
        made["stringData"] = {"token": MARK}
        monkeypatch.setattr(store, "read_key_pair", broken)
        with pytest.raises(RuntimeError) as caught:
            read(made)
        error = caught.value
        said = {"msg": "died", "exc_info": (type(error), error, error.__traceback__)}
        text = form.format(logging.makeLogRecord(said))
        assert "a defect" in text
        assert MARK not in text
        assert base64.standard_b64encode(MARK.encode()).decode() not in text

    @pytest.mark.parametrize(("module", "name"), [(kinds, "Secret"), (base64, "b64decode")])
    def test_in_reading(self, module: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It stops no source: the object is one that cannot be read."""

        def broken(*held: Any, **_: Any) -> Any:
            raise RuntimeError(MARK, held)

        monkeypatch.setattr(module, name, broken)
        ref, resource, (found,) = parse(secret("s", password=MARK))
        assert (ref, resource) == (REF, None)
        assert found.message == "not read, a defect of ours: RuntimeError"


KEY = re.compile(
    "PRIVATE KEY-----\\s*[A-Za-z0-9+/]{40}|^ *tls.key: [A-Za-z0-9+/]{40}", re.MULTILINE
)
FOLDERS = ("haproxy", "haproxy_ingress", "tests", "docs", "examples", "benchmarks", "scripts")


def test_no_file_of_the_project_holds_a_key() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = {path: path.read_text(errors="replace") for path in files if path.suffix != ".pyc"}
    assert len(texts) > 100
    assert not [path for path, text in texts.items() if KEY.search(text)]
    assert KEY.search(pair("a.test").key)
