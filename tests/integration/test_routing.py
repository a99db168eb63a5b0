"""Which pod answers which request, row by row, each through the real HAProxy.

`routing.yaml` and `catch-all.yaml` hold the Ingresses; read a row with them beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import frozen

from tests.integration.kit.daemon import Daemon, dump, running
from tests.integration.kit.dns import name_server
from tests.integration.kit.net import Response
from tests.integration.kit.objects import endpoints, service
from tests.integration.kit.pods import Pods

pytestmark = pytest.mark.integration

# Services with port 80 and one pod; the pod of the n-th is 127.20.0.n.
PLAIN = """
exact exact-slash exact-root
prefix prefix-long prefix-exact prefix-below prefix-slash prefix-deep root root-exact
encoded-space encoded-slash encoded-tilde specific specific-none specific-dot
regex regex-long regex-either regex-exact regex-prefix regex-beaten
wild wild-deep wild-exact wild-known any any-exact overlap default default-foo
fine winner winner-exact loser classed beta beta-default everything foo own
""".split()
POD = {name: f"127.20.0.{number}" for number, name in enumerate(PLAIN, start=1)} | {
    "some-ready": "127.40.0.3",
    "ready-unknown": "127.40.0.5",
    "last-one": "127.40.0.6",
    "two-ports": "127.41.0.1",
    "headless": "127.41.0.2",
    "unnamed": "127.41.0.3",
    "other/exact": "127.41.0.4",
    "external": "127.41.0.5",
}
EXTERNAL = {"outside.example": POD["external"]}


@frozen
class Row:
    """expected: the Service whose pod answers, or the status."""

    host: str | Sequence[str] | None
    target: str
    expected: str | int
    method: str = "GET"
    version: str = "1.1"


@pytest.fixture(scope="module")
def routing(echo: Pods) -> Iterator[Daemon]:
    with (
        name_server(EXTERNAL) as port,
        running(manifests("routing.yaml", echo), "--nameserver", f"127.0.0.1:{port}") as daemon,
    ):
        yield daemon


@pytest.fixture(scope="module")
def catch_all(echo: Pods) -> Iterator[Daemon]:
    with running(manifests("catch-all.yaml", echo)) as daemon:
        yield daemon


def manifests(name: str, pods: Pods) -> dict[str, str]:
    text = Path(__file__).with_name(name).read_text()
    text = text.replace("ECHO", str(pods.port)).replace("OTHER", str(pods.other_port))
    plain = [service(name) for name in PLAIN]
    plain += [endpoints(name, [POD[name]], pods.port) for name in PLAIN]
    return {name: text, "plain.yaml": dump(plain)}


def assert_answered(daemon: Daemon, row: Row) -> None:
    """The right pod answers, and it was sent what the client sent."""
    answer = daemon.request(row.target, row.host, row.method, version=row.version)
    assert who(answer) == row.expected, daemon.printed[-2000:]
    if answer.status == 200:
        assert answer.json()["target"] == row.target
        assert answer.json()["method"] == row.method


def who(answer: Response) -> str | int:
    if answer.status != 200:
        return answer.status
    address = answer.json()["pod"]
    return next((name for name, pod in POD.items() if pod == address), address)


# fmt: off
ROWS = {
    # Exact: the whole path, case and all.
    "exact": Row("exact.test", "/foo", "exact"),
    "exact-with-query": Row("exact.test", "/foo?x=1&y=/bar/", "exact"),
    "exact-with-empty-query": Row("exact.test", "/foo?", "exact"),
    "exact-by-post": Row("exact.test", "/foo", "exact", method="POST"),
    "exact-by-unusual-method": Row("exact.test", "/foo", "exact", method="PURGE"),
    "exact-is-not-slash": Row("exact.test", "/foo/", 404),
    "exact-is-not-below": Row("exact.test", "/foo/bar", 404),
    "exact-is-not-longer": Row("exact.test", "/foobar", 404),
    "exact-is-not-shorter": Row("exact.test", "/fo", 404),
    "exact-is-case-sensitive": Row("exact.test", "/Foo", 404),
    "exact-has-no-parameters": Row("exact.test", "/foo;v=1", 404),
    "exact-slash": Row("exact.test", "/bar/", "exact-slash"),
    "exact-slash-is-needed": Row("exact.test", "/bar", 404),
    "exact-slash-is-not-below": Row("exact.test", "/bar/x", 404),
    "exact-root": Row("exact.test", "/", "exact-root"),
    "exact-root-with-query": Row("exact.test", "/?q", "exact-root"),
    "exact-query-is-no-path": Row("exact.test", "/?/foo", "exact-root"),
    "exact-absolute-target": Row("exact.test", "http://exact.test/foo", "exact"),

    # Prefix: by element, the longest first.
    "prefix": Row("prefix.test", "/foo", "prefix"),
    "prefix-slash": Row("prefix.test", "/foo/", "prefix"),
    "prefix-below": Row("prefix.test", "/foo/x", "prefix"),
    "prefix-far-below": Row("prefix.test", "/foo/x/y/z.html", "prefix"),
    "prefix-is-by-element": Row("prefix.test", "/foobar", 404),
    "prefix-is-by-element-with-dot": Row("prefix.test", "/foo.html", 404),
    "prefix-is-case-sensitive": Row("prefix.test", "/FOO/x", 404),
    "prefix-not-root": Row("prefix.test", "/", 404),
    "prefix-longest": Row("prefix.test", "/foo/bar", "prefix-long"),
    "prefix-longest-slash": Row("prefix.test", "/foo/bar/", "prefix-long"),
    "prefix-longest-below": Row("prefix.test", "/foo/bar/baz", "prefix-long"),
    "prefix-longest-is-by-element": Row("prefix.test", "/foo/barbaz", "prefix"),
    "prefix-longest-with-query": Row("prefix.test", "/foo/bar?x=/", "prefix-long"),
    "prefix-query-is-no-path": Row("prefix.test", "/foo?/bar", "prefix"),
    "prefix-yields-to-exact": Row("prefix.test", "/foo/exact", "prefix-exact"),
    "prefix-beside-exact-slash": Row("prefix.test", "/foo/exact/", "prefix-below"),
    "prefix-beside-exact-below": Row("prefix.test", "/foo/exact/x", "prefix-below"),
    "rule-with-slash": Row("prefix.test", "/slash/", "prefix-slash"),
    "rule-with-slash-asked-without": Row("prefix.test", "/slash", "prefix-slash"),
    "rule-with-slash-below": Row("prefix.test", "/slash/x", "prefix-slash"),
    "rule-with-slash-is-by-element": Row("prefix.test", "/slashed", 404),
    "prefix-deep": Row("prefix.test", "/deep/er/path/x", "prefix-deep"),
    "prefix-deep-not-above": Row("prefix.test", "/deep/er", 404),
    "root": Row("root.test", "/", "root"),
    "root-below": Row("root.test", "/any/thing", "root"),
    "root-yields-to-exact": Row("root.test", "/only", "root-exact"),
    "root-beside-exact": Row("root.test", "/only/", "root"),
    "root-of-odd-characters": Row("root.test", "/a;b=c/!$&'()*+,:@|", "root"),

    # Matched after normalisation, forwarded as received.
    "two-slashes-before": Row("prefix.test", "//foo", "prefix"),
    "two-slashes-within": Row("prefix.test", "/foo//bar", "prefix-long"),
    "many-slashes": Row("exact.test", "////foo", "exact"),
    "two-slashes-after-exact": Row("exact.test", "/bar//", "exact-slash"),
    "dot": Row("exact.test", "/./foo", "exact"),
    "dot-at-the-end": Row("prefix.test", "/foo/.", "prefix"),
    "dot-dot": Row("exact.test", "/a/../foo", "exact"),
    "dot-dot-out-of-prefix": Row("prefix.test", "/foo/../slash", "prefix-slash"),
    "dot-dot-at-the-end": Row("prefix.test", "/foo/bar/..", "prefix"),
    "dot-dot-above-the-root": Row("exact.test", "/../foo", "exact"),
    "dot-dot-encoded": Row("prefix.test", "/foo/%2e%2E/slash", "prefix-slash"),
    "three-dots-are-a-name": Row("prefix.test", "/foo/.../slash", "prefix"),
    "encoded-letter": Row("exact.test", "/%66oo", "exact"),
    "encoded-letters": Row("prefix.test", "/%66%6F%6f/x", "prefix"),
    "encoded-letter-in-longest": Row("prefix.test", "/foo/%62ar", "prefix-long"),
    "encoded-slash-is-no-separator": Row("prefix.test", "/foo%2Fbar", 404),
    "encoded-slash-in-lower-case": Row("prefix.test", "/foo%2fbar", 404),
    "encoded-slash-in-exact": Row("exact.test", "/bar%2F", 404),
    "encoded-slash-below-prefix": Row("prefix.test", "/foo/x%2Fy", "prefix"),
    "encoded-slash-not-longest": Row("prefix.test", "/foo/bar%2Fx", "prefix"),
    "encoded-dot-dot-slash": Row("prefix.test", "/foo/..%2Fslash", "prefix"),
    "encoded-twice": Row("exact.test", "/%2566oo", 404),
    "encoded-wrongly": Row("prefix.test", "/foo/%zz", "prefix"),
    "encoded-query-is-kept": Row("exact.test", "/foo?%66=%2F//../", "exact"),
    "rule-with-encoded-space": Row("encoded.test", "/a%20b/c", "encoded-space"),
    "rule-with-encoded-slash": Row("encoded.test", "/x%2Fy", "encoded-slash"),
    "rule-with-encoded-slash-in-lower-case": Row("encoded.test", "/x%2fy/z", "encoded-slash"),
    "rule-with-encoded-slash-is-no-separator": Row("encoded.test", "/x/y", 404),
    "rule-with-tilde": Row("encoded.test", "/%7Euser", "encoded-tilde"),

    # ImplementationSpecific, or no type: as Prefix.
    "specific": Row("specific.test", "/some", "specific"),
    "specific-below": Row("specific.test", "/some/x", "specific"),
    "specific-is-by-element": Row("specific.test", "/something", 404),
    "no-type": Row("specific.test", "/none/x", "specific-none"),
    "no-type-is-by-element": Row("specific.test", "/nonexistent", 404),
    "specific-is-no-regex": Row("specific.test", "/a.c", "specific-dot"),
    "specific-dot-is-a-dot": Row("specific.test", "/abc", 404),

    # Regular expressions, where the Ingress asks for them.
    "regex": Row("regex.test", "/items/7", "regex"),
    "regex-with-query": Row("regex.test", "/items/7?x", "regex"),
    "regex-is-open-at-the-end": Row("regex.test", "/items/7/other", "regex"),
    "regex-longest-first": Row("regex.test", "/items/7/detail", "regex-long"),
    "regex-yields-to-exact": Row("regex.test", "/items/42", "regex-exact"),
    "regex-beside-exact": Row("regex.test", "/items/421", "regex"),
    "regex-before-prefix": Row("regex.test", "/items/7/detail/of", "regex-long"),
    "regex-else-prefix": Row("regex.test", "/items/x", "regex-prefix"),
    "regex-else-prefix-itself": Row("regex.test", "/items", "regex-prefix"),
    "regex-is-anchored": Row("regex.test", "/x/items/7", 404),
    "regex-is-case-sensitive": Row("regex.test", "/ALPHA", 404),
    "regex-either": Row("regex.test", "/alpha", "regex-either"),
    "regex-or": Row("regex.test", "/beta/x", "regex-either"),
    "regex-end-of-element": Row("regex.test", "/alphabet", 404),
    "regex-after-normalisation": Row("regex.test", "//items/%37", "regex"),
    "regex-host-is-no-regex": Row("regexxtest", "/items/7", 404),

    # Wildcard hosts: exactly one label; an exact host hides them.
    "wildcard": Row("a.wild.test", "/", "wild"),
    "wildcard-below": Row("a-b.wild.test", "/x", "wild"),
    "wildcard-longest": Row("a.wild.test", "/deep/x", "wild-deep"),
    "wildcard-exact": Row("a.wild.test", "/deep", "wild-exact"),
    "wildcard-case": Row("A.WILD.Test", "/", "wild"),
    "wildcard-port": Row("a.wild.test:8080", "/", "wild"),
    "wildcard-not-two-labels": Row("a.b.wild.test", "/", 404),
    "wildcard-not-no-label": Row("wild.test", "/", 404),
    "wildcard-not-an-empty-label": Row(".wild.test", "/", 400),
    "wildcard-not-a-part-of-a-label": Row("awild.test", "/", 404),
    "wildcard-hidden": Row("known.wild.test", "/only", "wild-known"),
    "wildcard-hidden-elsewhere": Row("known.wild.test", "/", 404),
    "wildcard-hidden-deep": Row("known.wild.test", "/deep", 404),

    # Rules without a host, and falling through to them.
    "any-host": Row("unknown.test", "/any", "any"),
    "any-host-below": Row("unknown.test", "/any/x", "any"),
    "any-host-exact": Row("unknown.test", "/any/exact", "any-exact"),
    "any-host-is-by-element": Row("unknown.test", "/anything", 404),
    "any-host-no-header": Row(None, "/any", "any", version="1.0"),
    "any-host-empty-header": Row("", "/any", "any"),
    "any-host-address": Row("127.0.0.1:80", "/any", "any"),
    "any-host-address-v6": Row("[::1]:80", "/any", "any"),
    "any-host-after-known-host": Row("prefix.test", "/any/x", "any"),
    "any-host-after-regex-host": Row("regex.test", "/any", "any"),
    "any-host-after-two-labels": Row("a.b.wild.test", "/any", "any"),
    "any-host-after-exact-host-of-wildcard": Row("known.wild.test", "/any", "any"),
    "any-host-not-before-wildcard": Row("a.wild.test", "/any", "wild"),
    "any-host-not-before-host": Row("overlap.test", "/any", "overlap"),
    "any-host-beside-host": Row("overlap.test", "/any/x", "any"),

    # Default backends.
    "default-foo": Row("default.test", "/foo/x", "default-foo"),
    "default": Row("default.test", "/", "default"),
    "default-elsewhere": Row("default.test", "/foobar", "default"),
    "default-before-any-host": Row("default.test", "/any", "default"),
    "default-of-wildcard-path": Row("a.default.test", "/foo", "default-foo"),
    "default-of-wildcard": Row("a.default.test", "/foo/x", "default"),
    "default-of-host-without-paths": Row("bare.test", "/x", "default"),
    "default-of-its-hosts-only": Row("unknown.test", "/", 404),
    "nothing": Row("unknown.test", "/foo", 404),
    "nothing-no-host": Row(None, "/", 404, version="1.0"),

    # How a host is written.
    "host-case": Row("EXACT.Test", "/foo", "exact"),
    "host-port": Row("exact.test:8080", "/foo", "exact"),
    "host-dot": Row("exact.test.", "/foo", "exact"),
    "host-dot-and-port": Row("exact.test.:443", "/foo", "exact"),
    "host-longer": Row("exact.test.example", "/foo", 404),
    "host-shorter": Row("xact.test", "/foo", 404),

    # What no honest client sends.
    "two-hosts": Row(["exact.test", "prefix.test"], "/foo", 400),
    "same-host-twice-is-one": Row(["exact.test", "exact.test"], "/foo", "exact"),  # to HAProxy
    "path-in-host": Row("exact.test/foo", "/", 400),
    "path-in-host-of-another": Row("a.test/foo", "/", 400),
    "star-in-host": Row("*.wild.test", "/", 400),
    "fragment-in-host": Row("exact.test#", "/foo", 400),
    "list-in-host": Row("exact.test,prefix.test", "/foo", 400),
    "space-in-host": Row("exact .test", "/foo", 400),
    "fragment": Row("exact.test", "/foo#x", 400),
    "fragment-that-looks-exact": Row("exact.test", "/foo/#", 400),
    "fragment-that-looks-like-a-prefix": Row("prefix.test", "/foo/#/x", 400),

    # What is not there.
    "fine": Row("trouble.test", "/fine", "fine"),
    "no-service": Row("trouble.test", "/no-service", 503),
    "no-port": Row("trouble.test", "/no-port/x", 503),
    "no-port-name": Row("trouble.test", "/no-port-name", 503),
    "no-slice": Row("trouble.test", "/no-slice", 503),
    "no-endpoints": Row("trouble.test", "/no-endpoints", 503),
    "not-ready": Row("trouble.test", "/not-ready", 503),
    "some-ready": Row("trouble.test", "/some-ready", "some-ready"),
    "ready-unknown-is-ready": Row("trouble.test", "/ready-unknown", "ready-unknown"),
    "terminating-but-the-last": Row("trouble.test", "/last-one", "last-one"),
    "resource": Row("trouble.test", "/resource", 404),

    # Two Ingresses that want the same.
    "older-wins": Row("conflict.test", "/age", "winner"),
    "older-wins-whatever-the-slash": Row("conflict.test", "/slash/x", "winner"),
    "other-type-is-no-conflict": Row("conflict.test", "/mixed", "winner-exact"),
    "other-type-is-no-conflict-below": Row("conflict.test", "/mixed/x", "winner"),
    "loser-keeps-the-rest": Row("conflict.test", "/own", "loser"),
    "same-age-first-name-wins": Row("conflict.test", "/name", "winner"),
    "any-age-beats-none": Row("conflict.test", "/dated", "winner"),
    "no-age-first-name-wins": Row("conflict.test", "/timeless", "winner"),

    # Classes.
    "class-by-object": Row("edge.class.test", "/", "classed"),
    "class-of-another": Row("foreign.class.test", "/", 404),
    "class-unknown": Row("unknown.class.test", "/", 404),
    "class-by-default": Row("none.class.test", "/", "classed"),
    "class-by-annotation": Row("old.class.test", "/", "classed"),
    "class-of-another-by-annotation": Row("old-foreign.class.test", "/", 404),

    # The forms before networking.k8s.io/v1.
    "extensions-number": Row("extensions.beta.test", "/number/x", "beta"),
    "extensions-name": Row("extensions.beta.test", "/name", "beta"),
    "extensions-default": Row("extensions.beta.test", "/", "beta-default"),
    "v1beta1-exact": Row("networking.beta.test", "/exact", "beta"),
    "v1beta1-no-path": Row("networking.beta.test", "/exact/x", "beta-default"),

    # Ports of Services, names outside, namespaces, Lists.
    "port-number": Row("ports.test", "/number", "two-ports"),
    "port-name": Row("ports.test", "/name", "two-ports"),
    "headless": Row("ports.test", "/headless", "headless"),
    "port-unnamed": Row("ports.test", "/unnamed", "unnamed"),
    "external-name": Row("ports.test", "/external/x", "external"),
    "external-name-unresolved": Row("ports.test", "/unresolved", 502),
    "namespace": Row("namespace.test", "/", "other/exact"),
    "list": Row("listed.test", "/", "fine"),
}

CATCH_ALL = {
    "unknown-host": Row("unknown.test", "/x", "everything"),
    "no-host": Row(None, "/", "everything", version="1.0"),
    "empty-host": Row("", "/", "everything"),
    "known-host": Row("plain.test", "/foo", "foo"),
    "known-host-other-path": Row("plain.test", "/other", "everything"),
    "known-host-any-path": Row("plain.test", "/any", "any"),
    "wildcard-host": Row("a.wild.test", "/foo", "foo"),
    "wildcard-host-other-path": Row("a.wild.test", "/other", "everything"),
    "wildcard-host-any-path": Row("a.wild.test", "/any", "any"),
    "two-labels": Row("a.b.wild.test", "/foo", "everything"),
    "any-host": Row("unknown.test", "/any/x", "any"),
    "own-default-path": Row("default.test", "/foo", "foo"),
    "own-default": Row("default.test", "/other", "own"),
    "own-default-before-any": Row("default.test", "/any", "own"),
    "missing-service-is-not-unmatched": Row("missing.test", "/foo", 503),
    "beside-a-missing-service": Row("missing.test", "/other", "everything"),
    "resource-is-not-unmatched": Row("resource.test", "/foo", 404),
    "two-hosts": Row(["a.test", "b.test"], "/", 400),
}
# fmt: on


def parameters(rows: dict[str, Row]) -> list[object]:
    return [pytest.param(row, id=name) for name, row in rows.items()]


@pytest.mark.parametrize("row", parameters(ROWS))
def test_routing(routing: Daemon, row: Row) -> None:
    assert_answered(routing, row)


@pytest.mark.parametrize("row", parameters(CATCH_ALL))
def test_routing_with_a_default_for_everything(catch_all: Daemon, row: Row) -> None:
    assert_answered(catch_all, row)


def test_what_matches_nothing_says_so(routing: Daemon) -> None:
    answer = routing.request("/", "unknown.test")
    assert (answer.status, answer.body.strip()) == (404, b"default backend - 404")


@pytest.mark.parametrize(
    ("target", "other"),
    [("/number", False), ("/name", False), ("/other-number", True), ("/other-name", True)],
)
def test_service_port_becomes_the_pods_port(
    routing: Daemon, echo: Pods, target: str, other: bool
) -> None:
    answer = routing.request(target, "ports.test").json()
    assert answer["port"] == (echo.other_port if other else echo.port)


def test_host_is_forwarded_as_received(routing: Daemon) -> None:
    answer = routing.request("/foo", "EXACT.test.:8080").json()
    assert ["host", "EXACT.test.:8080"] in [[name.lower(), v] for name, v in answer["headers"]]
