"""Somebody edits manifests, well and badly: what was served goes on being served."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.integration.kit.daemon import Daemon, dump, running
from tests.integration.kit.load import load
from tests.integration.kit.objects import Object, endpoints, ingress, service
from tests.integration.kit.pods import Pods

pytestmark = pytest.mark.integration

HOST = "web.test"
FIRST, SECOND = "127.60.0.1", "127.60.0.2"


def web(pods: Pods, name: str = "web", address: str = FIRST) -> list[Object]:
    """A Service with one pod, and an Ingress for it alone."""
    return [
        ingress(name, f"{name}.test", {"/": name}),
        service(name),
        endpoints(name, [address], pods.port),
    ]


def answers(daemon: Daemon, host: str, address: str) -> bool:
    return daemon.pod("/", host) == address


@contextmanager
def marker(daemon: Daemon, pods: Pods) -> Iterator[None]:
    """What was done before the end of this is history: a later change has been served."""
    yield
    number = len(list(daemon.manifests.glob("marker-*")))
    daemon.write(
        f"marker-{number}.yaml", ingress(f"marker-{number}", f"m{number}.test", {"/": "web"})
    )
    daemon.wait_for(lambda: daemon.pod("/", f"m{number}.test") == FIRST)


@pytest.fixture
def serving(daemon: Daemon, echo: Pods) -> Daemon:
    """One Ingress, one Service, one pod."""
    daemon.write("web.yaml", web(echo))
    daemon.wait_for(lambda: daemon.pod("/", HOST) == FIRST)
    return daemon


@pytest.fixture
def always_loadable(serving: Daemon) -> Iterator[None]:
    """From the beginning of the test to its end, over and over, what lies there is loadable."""
    failures: list[str] = []
    over = threading.Event()

    def check() -> None:
        while not over.is_set():
            try:
                serving.loadable()
            except AssertionError as error:
                failures.append(str(error))

    thread = threading.Thread(target=check)
    thread.start()
    yield
    over.set()
    thread.join()
    assert failures == []


def test_half_written_file_is_not_read(serving: Daemon, echo: Pods) -> None:
    """Written in place and slowly, the file counts when it is closed."""
    whole = dump([*web(echo, address=SECOND), ingress("new", "new.test", {"/": "web"})])
    half = whole.index("kind: Service")  # what stands before is a whole Ingress
    with (serving.manifests / "web.yaml").open("w") as file:
        with marker(serving, echo):
            file.write(whole[:half])
            file.flush()
        assert serving.pod("/", HOST) == FIRST
        file.write(whole[half:])
    serving.wait_for(lambda: serving.pod("/", "new.test") == SECOND)
    assert serving.pod("/", HOST) == SECOND


@pytest.mark.parametrize(
    "content",
    [
        "a: [",
        "kind: Ingress\nmetadata: {name: web",
        "\0\0\0\0",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: [\n---\n",
        "&a [*a, *a]",
        "!!python/object/apply:os.system [exit 1]",
    ],
    ids=["unclosed", "cut", "zeros", "second-broken", "itself", "python"],
)
def test_broken_file_keeps_what_it_held(serving: Daemon, echo: Pods, content: str) -> None:
    before = serving.served()
    with marker(serving, echo):
        serving.write("web.yaml", content)
    assert serving.pod("/", HOST) == FIRST
    assert serving.served() == before
    serving.write("web.yaml", web(echo, address=SECOND))  # and it can be mended
    serving.wait_for(lambda: serving.pod("/", HOST) == SECOND)


def test_editors_own_files_are_not_read(serving: Daemon, echo: Pods) -> None:
    text = dump(ingress("draft", "draft.test", {"/": "web"}))
    names = [".draft.yaml.swp", "draft.yaml~", "#draft.yaml#", ".#draft.yaml", "4913", "draft.txt"]
    with marker(serving, echo):
        for name in names:
            serving.write(name, text)
    assert serving.pod("/", "draft.test") == "status 404"
    serving.write("draft.yaml", text)
    serving.wait_for(lambda: serving.pod("/", "draft.test") == FIRST)


def test_new_host_and_path_on_a_known_service_need_no_reload(serving: Daemon, fast: Pods) -> None:
    serving.write("endpoints.yaml", endpoints("web", ["127.60.0.3"], fast.port, suffix="2"))
    serving.wait_for(lambda: len(serving.serving("web")) == 2)
    before = serving.served()
    with load(serving.port, HOST) as client:
        serving.write("more.yaml", ingress("more", "more.test", {"/a": "web", "/b": "web"}))
        serving.wait_for(lambda: serving.request("/b/c", "more.test").status == 200)
        assert serving.request("/c", "more.test").status == 404
        serving.write("more.yaml", ingress("more", "more.test", {"/c": "web"}))
        serving.wait_for(lambda: serving.request("/c", "more.test").status == 200)
        serving.wait_for(lambda: serving.request("/b", "more.test").status == 404)
        client.after(1_000)
    assert client.failures == []
    assert serving.served() == before
    newest = next(d for d in serving.decisions() if d["causes"])
    assert (newest["action"], newest["result"]) == ("runtime", "ok")
    assert [cause["name"] for cause in newest["causes"]] == ["more"]


def test_new_service_is_at_most_one_reload_that_nobody_notices(serving: Daemon, echo: Pods) -> None:
    """None with HAProxy 3.4. The decision says why, and the metric counts it."""
    before = serving.served()
    with load(serving.port, HOST) as client:
        serving.write("api.yaml", web(echo, "api", SECOND))
        serving.wait_for(lambda: serving.pod("/", "api.test") == SECOND)
        client.after(1_000)
    assert client.failures == []
    dynamic = serving.version() >= (3, 4)
    assert serving.served().reloads - before.reloads == (0 if dynamic else 1)
    serving.wait_for(lambda: reloads_for_new_backends(serving) == serving.served().reloads)
    action = "runtime" if dynamic else "reload"
    serving.wait_for(
        lambda: any(d["action"] == action for d in about(serving, "backend default_api_80"))
    )
    newest = about(serving, "backend default_api_80")[0]
    cause = {"kind": "Service", "namespace": "default", "name": "api", "change": "added"}
    assert cause in newest["causes"]


def about(daemon: Daemon, what: str) -> list[dict[str, Any]]:
    """The decisions with *what* in a reason."""
    return [decision for decision in daemon.decisions() if what in str(decision["reasons"])]


def reloads_for_new_backends(daemon: Daemon) -> float:
    wanted = 'haproxy_ingress_reloads_total{reason="new-backend",result="ok"} '
    lines = daemon.admin("/metrics").body.decode().splitlines()
    return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0)


def test_new_host_is_never_half_there(serving: Daemon, fast: Pods) -> None:
    """A wildcard serves it until its own Service can: nobody is left without an answer."""
    serving.write("endpoints.yaml", endpoints("web", ["127.60.0.3"], fast.port, suffix="2"))
    serving.write("web.yaml", [service("web"), ingress("wild", "*.wild.test", {"/": "web"})])
    serving.wait_for(lambda: serving.pod("/", "api.wild.test") == "127.60.0.3")
    api = [service("api"), endpoints("api", [SECOND], fast.port)]
    with load(serving.port, "api.wild.test") as client:
        serving.write("api.yaml", [*api, ingress("api", "api.wild.test", {"/": "api"})])
        serving.wait_for(lambda: serving.pod("/", "api.wild.test") == SECOND)
        (serving.manifests / "api.yaml").unlink()
        serving.wait_for(lambda: serving.pod("/", "api.wild.test") == "127.60.0.3")
    assert client.failures == []


def test_many_new_services_at_once_share_a_few_reloads(
    serving: Daemon, echo: Pods, always_loadable: None
) -> None:
    """Endpoints go on changing meanwhile, and nobody notices."""
    before = serving.served()
    with load(serving.port, HOST) as client:
        for number in range(20):
            serving.write(f"s{number}.yaml", web(echo, f"s{number}", f"127.61.0.{number + 1}"))
            serving.write("web.yaml", web(echo, address=[SECOND, FIRST][number % 2]))
        for number in range(20):
            host, address = f"s{number}.test", f"127.61.0.{number + 1}"
            serving.wait_for(partial(answers, serving, host, address))
        serving.wait_for(lambda: serving.pod("/", HOST) == FIRST)
    assert client.failures == []
    most = 0 if serving.version() >= (3, 4) else 3
    assert serving.served().reloads - before.reloads <= most


def test_ingress_that_stops_being_ours_is_not_served(serving: Daemon, echo: Pods) -> None:
    """By the class object's controller, and by its own word."""
    taken = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "haproxy"},
        "spec": {"controller": "example.test/another"},
    }
    serving.write("class.yaml", taken)
    serving.wait_for(lambda: serving.pod("/", HOST) == "status 404")
    (serving.manifests / "class.yaml").unlink()
    serving.wait_for(lambda: serving.pod("/", HOST) == FIRST)
    foreign = ingress("web", HOST, {"/": "web"})
    foreign["spec"]["ingressClassName"] = "another"
    serving.write("web.yaml", [foreign, service("web"), endpoints("web", [FIRST], echo.port)])
    serving.wait_for(lambda: serving.pod("/", HOST) == "status 404")


def test_older_ingress_takes_a_path_over_without_a_gap(serving: Daemon, fast: Pods) -> None:
    """And when it goes, the path falls back to the one that had it before."""
    old, new = "127.60.0.3", "127.60.0.4"
    dated = ingress("dated", HOST, {"/": "other"})
    dated["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    services = [service("other"), endpoints("other", [new], fast.port)]
    elsewhere = ingress("elsewhere", "elsewhere.test", {"/": "other"})
    serving.write("other.yaml", [*services, elsewhere])
    serving.write("web.yaml", web(fast, address=old))
    serving.wait_for(lambda: serving.pod("/", HOST) == old)
    serving.wait_for(lambda: serving.pod("/", "elsewhere.test") == new)
    before = serving.served()
    with load(serving.port, HOST) as client:
        for _ in range(5):
            serving.write("dated.yaml", dated)
            serving.wait_for(lambda: serving.pod("/", HOST) == new)
            (serving.manifests / "dated.yaml").unlink()
            serving.wait_for(lambda: serving.pod("/", HOST) == old)
    assert client.failures == []
    assert serving.served() == before


def test_deleted_file_takes_its_routes_along(serving: Daemon, echo: Pods) -> None:
    serving.write("other.yaml", ingress("other", "other.test", {"/": "web"}))
    serving.wait_for(lambda: serving.pod("/", "other.test") == FIRST)
    (serving.manifests / "other.yaml").unlink()
    serving.wait_for(lambda: serving.pod("/", "other.test") == "status 404")
    assert serving.pod("/", HOST) == FIRST


def test_folders_are_watched_as_they_come_and_go(serving: Daemon, echo: Pods) -> None:
    route = ingress("deep", "deep.test", {"/": "web"})
    for _ in range(2):
        serving.write("folder/below/deep.yaml", route)
        serving.wait_for(lambda: serving.pod("/", "deep.test") == FIRST)
        shutil.rmtree(serving.manifests / "folder")
        serving.wait_for(lambda: serving.pod("/", "deep.test") == "status 404")
    outside = serving.base / "outside"
    outside.mkdir()
    (outside / "deep.yaml").write_text(dump(route))
    outside.rename(serving.manifests / "moved-in")
    serving.wait_for(lambda: serving.pod("/", "deep.test") == FIRST)
    (serving.manifests / "moved-in").rename(serving.base / "moved-out")
    serving.wait_for(lambda: serving.pod("/", "deep.test") == "status 404")
    assert serving.pod("/", HOST) == FIRST


def test_renamed_file_and_moved_object_stay_served(serving: Daemon, echo: Pods) -> None:
    """A route that only changes the file it is written in is never away."""
    with load(serving.port, HOST) as client:
        (serving.manifests / "web.yaml").rename(serving.manifests / "renamed.yaml")
        with marker(serving, echo):
            pass
        assert serving.pod("/", HOST) == FIRST
    assert client.failures == []


def test_deleted_watched_folder_may_come_back(serving: Daemon, echo: Pods) -> None:
    shutil.rmtree(serving.manifests)
    serving.wait_for(lambda: serving.pod("/", HOST) == "status 404")
    serving.manifests.mkdir()
    serving.write("web.yaml", web(echo, address=SECOND))
    serving.wait_for(lambda: serving.pod("/", HOST) == SECOND)


def test_one_object_in_trouble_does_not_stop_the_others(serving: Daemon, echo: Pods) -> None:
    bad = ingress("bad", "bad.test", {"/": "web"})
    bad["spec"]["rules"] = "none of these"
    worse = ingress("worse", "worse.test\n  bind :1", {"/ # {": "web", "relative": "web"})
    serving.write("web.yaml", [bad, worse, *web(echo, address=SECOND)])
    serving.wait_for(lambda: serving.pod("/", HOST) == SECOND)
    serving.loadable()


def test_state_is_private(serving: Daemon) -> None:
    assert serving.state.stat().st_mode & 0o777 == 0o700
    for name in ("haproxy.sock", "master.sock"):
        assert (serving.state / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_end_takes_everything_along(serving: Daemon, how: signal.Signals) -> None:
    serving.stop(how)


def test_second_daemon_is_refused(serving: Daemon) -> None:
    """It says so in a line, and the first one goes on."""
    command = [sys.executable, "-m", "haproxy_ingress", "run", "--haproxy", serving.haproxy]
    command += ["--manifests", str(serving.manifests), "--state-dir", str(serving.state)]
    command += ["--http-port", "0", "--admin-port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert str(serving.state) in second.stderr
    assert "Traceback" not in second.stderr
    assert serving.pod("/", HOST) == FIRST


def test_killed_daemon_is_followed_by_one_that_takes_over(serving: Daemon, echo: Pods) -> None:
    """HAProxy serves on without us, and nobody notices that somebody else drives it."""
    with load(serving.port, HOST) as client:
        serving.process.kill()
        serving.process.wait()
        client.after(1_000)
        serving.restart()
        serving.write("web.yaml", web(echo, address=SECOND))
        serving.wait_for(lambda: serving.pod("/", HOST) == SECOND)
        client.after(1_000)
    assert client.failures == []


def test_state_directory_survives_everything(echo: Pods) -> None:
    """What lies there after the end is still loadable, and a new daemon starts on it."""
    with running({"web.yaml": web(echo)}) as daemon:
        daemon.stop()
        daemon.loadable()
        daemon.restart()
        daemon.wait_for(lambda: daemon.pod("/", HOST) == FIRST)
