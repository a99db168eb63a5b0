"""One object that HAProxy refuses stops nothing else, and never reaches the live files.

The pattern below is a regular expression to Python, which validates it, and none to PCRE2, which
has to run it: a value that gets past the validation as one could in earnest.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods

POISON = "/x{70000}"
POD = "127.61.0.1"


def regex(name: str, host: str, path: str) -> Object:
    """An Ingress with a regular expression, and a plain path beside it."""
    made = ingress(name, host, {path: "web", "/plain": "web"})
    made["metadata"]["annotations"] = {"haproxy-ingress.io/use-regex": "true"}
    made["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "ImplementationSpecific"
    return made


def web(pods: Pods) -> list[Object]:
    good = ingress("good", "good.test", {"/": "web"})
    return [service("web"), endpoints("web", [POD], pods.port), good]


@pytest.fixture
def serving(echo: Pods) -> Iterator[Daemon]:
    with running({"web.yaml": web(echo)}) as daemon:
        yield daemon


def reasons(daemon: Daemon) -> dict[str, str]:
    """What is wrong with which Ingress."""
    found = daemon.admin("/api/v1/status").json()["diagnostics"]
    return {one["name"]: one["reason"] for one in found if one["kind"] == "Ingress"}


def never_live(daemon: Daemon) -> None:
    assert "70000" not in "".join(
        path.read_text() for path in (daemon.state / "current").resolve().rglob("*.*")
    )
    daemon.loadable()


def test_refused_at_the_start(echo: Pods) -> None:
    bad = regex("bad", "bad.test", POISON)
    with running({"web.yaml": web(echo), "bad.yaml": [bad]}) as daemon:
        assert daemon.pod("/", "good.test") == POD
        assert daemon.pod("/plain", "bad.test") == "status 503"
        assert reasons(daemon) == {"bad": "Quarantined"}
        never_live(daemon)


def test_refused_as_a_command(serving: Daemon) -> None:
    """Its last good form goes on, others change, mending it brings it back."""
    serving.write("bad.yaml", regex("bad", "bad.test", "/[0-9]+"))
    serving.write("other.yaml", regex("other", "other.test", "/[a-z]+"))
    serving.wait_for(lambda: serving.pod("/1", "bad.test") == POD)
    serving.wait_for(lambda: serving.pod("/a", "other.test") == POD)
    before = serving.served()

    serving.write("bad.yaml", regex("bad", "bad.test", POISON))
    serving.wait_for(lambda: reasons(serving) == {"bad": "Quarantined"})
    assert serving.pod("/1", "bad.test") == POD
    assert serving.pod("/a", "other.test") == POD
    serving.write("other.yaml", regex("other", "other.test", "/[0-9]+"))
    serving.wait_for(lambda: serving.pod("/1", "other.test") == POD)
    never_live(serving)

    serving.write("bad.yaml", regex("bad", "bad.test", "/[a-z]+"))
    serving.wait_for(lambda: serving.pod("/a", "bad.test") == POD)
    assert reasons(serving) == {}
    assert serving.served() == before
    results = [one["result"] for one in serving.decisions()]
    assert results.count("quarantined") == 1


def test_refused_in_a_reload(serving: Daemon, echo: Pods) -> None:
    """A reload that others wait for goes ahead without it; HAProxy 3.4 needs none."""
    before = serving.served()
    api = [
        service("api"),
        endpoints("api", [POD], echo.port),
        ingress("api", "api.test", {"/": "api"}),
    ]
    poisoned = regex("bad", "bad.test", POISON)
    poisoned["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = "api"
    serving.write("burst.yaml", [*api, poisoned])
    serving.wait_for(lambda: serving.pod("/", "api.test") == POD)
    assert reasons(serving) == {"bad": "Quarantined"}
    assert serving.served().reloads - before.reloads == (serving.version() < (3, 4))
    never_live(serving)
