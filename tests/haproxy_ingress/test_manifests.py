"""Manifest files: what is delivered, when, and what is said about the rest. Real files."""

from __future__ import annotations

import io
import os
import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import pytest

from haproxy_ingress.diagnostics import Level, Ref, Why
from haproxy_ingress.resources import Service
from haproxy_ingress.sources import Change
from haproxy_ingress.sources.manifests import ManifestsSource, read_paths

PATIENCE_S = 10.0


def service(name: str, port: int = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{ports: [{{port: {port}}}]}}\n"
    )


def ref(name: str) -> Ref:
    return Ref("Service", "default", name)


def file(path: Path) -> Ref:
    return Ref("File", "", str(path))


def put(path: Path, text: str) -> None:
    """Atomically, as careful writers do."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


class Listener:
    """Runs a source and says what came from it, change by change."""

    def __init__(self, *paths: Path) -> None:
        self.synced = Event()
        self.batches: queue.Queue[Sequence[Change]] = queue.Queue()
        self.source = ManifestsSource(paths)
        self.source.start(self.batches.put, self.synced.set)
        assert self.synced.wait(PATIENCE_S)

    def take(self) -> dict[Ref, Change]:
        """The next batch."""
        return {change.ref: change for change in self.batches.get(timeout=PATIENCE_S)}

    def until(self, wanted: dict[Ref, int | None]) -> list[Change]:
        """Take batches until the ports are those, None for what is gone; returns all changes."""
        seen: list[Change] = []
        now: dict[Ref, int | None] = {}
        while any(now.get(one, -1) != port for one, port in wanted.items()):
            batch = self.batches.get(timeout=PATIENCE_S)
            seen += batch
            now |= {change.ref: port_of(change) for change in batch if not change.keep}
        return seen

    def quiet(self, path: Path) -> bool:
        """Whether nothing came up to now: a marker file is the next thing told."""
        put(path, service("marker"))
        return set(self.take()) == {ref("marker")}


def port_of(change: Change) -> int | None:
    assert change.resource is None or isinstance(change.resource, Service)
    return change.resource.ports[0].port if change.resource else None


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    listeners: list[Listener] = []

    def start(*paths: Path) -> Listener:
        listeners.append(Listener(*paths))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.source.stop()


Listen = Callable[..., Listener]


def test_everything_is_delivered_in_one_batch_before_synced(tmp_path: Path, listen: Listen) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a.yaml").write_text(f"{service('a')}---\n{service('b')}---\n")
    (tmp_path / "deep" / "er" / "c.yml").write_text(service("c"))
    (tmp_path / "d.json").write_text(
        '{"apiVersion": "v1", "kind": "Service",\t"metadata": {"name": "d"}, "spec": {}}'
    )
    (tmp_path / "list.yaml").write_text(
        "apiVersion: v1\nkind: List\nitems:\n- " + service("e").replace("\n", "\n  ")
    )
    found = listen(tmp_path).take()
    assert set(found) == {ref(name) for name in "abcde"}
    assert all(change.arrived_s > 0 and not change.keep for change in found.values())


@pytest.mark.parametrize("name", ["a.yaml~", ".a.yaml", ".#a.yaml", ".a.yaml.swp", "4913", "a.tmp"])
def test_temporary_files_of_editors_are_not_read(tmp_path: Path, listen: Listen, name: str) -> None:
    listener = listen(tmp_path)
    (tmp_path / name).write_text(service("a"))
    assert listener.quiet(tmp_path / "z.yaml")


def test_a_replaced_file_is_read_at_once(tmp_path: Path, listen: Listen) -> None:
    put(tmp_path / "a.yaml", service("a", 1))
    listener = listen(tmp_path)
    listener.take()
    put(tmp_path / "a.yaml", service("a", 2))
    listener.until({ref("a"): 2})


def test_a_half_written_file_is_not_read(tmp_path: Path, listen: Listen) -> None:
    listener = listen(tmp_path)
    with (tmp_path / "a.yaml").open("w") as writer:
        writer.write(service("a"))
        writer.flush()
        assert listener.quiet(tmp_path / "z.yaml")
        writer.write("---\n" + service("b"))
    assert set(listener.take()) == {ref("a"), ref("b")}


def test_a_file_that_is_being_rewritten_keeps_its_objects(tmp_path: Path, listen: Listen) -> None:
    put(tmp_path / "a.yaml", service("a", 1))
    listener = listen(tmp_path)
    listener.take()
    with (tmp_path / "a.yaml").open("w") as writer:
        (tmp_path / "new").mkdir()  # makes everything be looked at
        assert listener.quiet(tmp_path / "z.yaml")
        writer.write(service("a", 2))
    assert port_of(listener.take()[ref("a")]) == 2


def test_a_half_written_file_in_a_new_folder_is_not_read(tmp_path: Path, listen: Listen) -> None:
    listener = listen(tmp_path)
    (tmp_path / "new").mkdir()
    with (tmp_path / "new" / "a.yaml").open("w") as writer:
        writer.write(service("a"))
        writer.flush()
        assert listener.quiet(tmp_path / "z.yaml")
        writer.write("---\n" + service("b"))
    assert set(listener.take()) == {ref("a"), ref("b")}


def test_a_file_that_is_being_written_at_the_start_is_read_when_it_is_closed(
    tmp_path: Path, listen: Listen
) -> None:
    with (tmp_path / "a.yaml").open("w") as writer:
        writer.write(service("a"))
        writer.flush()
        listener = listen(tmp_path)
        assert listener.quiet(tmp_path / "z.yaml")
        writer.write("---\n" + service("b"))
    assert set(listener.take()) == {ref("a"), ref("b")}


def test_vim_renames_the_old_file_away_and_writes_a_new_one(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "a.yaml"
    put(path, service("a", 1))
    listener = listen(tmp_path)
    listener.take()
    (tmp_path / "4913").touch()
    (tmp_path / "4913").unlink()
    path.rename(tmp_path / "a.yaml~")
    path.write_text(service("a", 2))
    (tmp_path / "a.yaml~").unlink()
    listener.until({ref("a"): 2})


def test_a_renamed_file_is_no_change_of_its_objects(tmp_path: Path, listen: Listen) -> None:
    put(tmp_path / "a.yaml", service("a"))
    listener = listen(tmp_path)
    listener.take()
    (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
    assert listener.quiet(tmp_path / "z.yaml")


def test_a_deleted_file_takes_its_objects_along(tmp_path: Path, listen: Listen) -> None:
    put(tmp_path / "a.yaml", service("a"))
    put(tmp_path / "b.yaml", service("b"))
    listener = listen(tmp_path)
    listener.take()
    (tmp_path / "a.yaml").unlink()
    assert listener.take()[ref("a")].resource is None
    (tmp_path / "b.yaml").rename(tmp_path.parent / f"{tmp_path.name}-b.yaml")
    assert listener.take()[ref("b")].resource is None


def test_only_what_differs_in_a_file_is_delivered(tmp_path: Path, listen: Listen) -> None:
    put(tmp_path / "a.yaml", f"{service('a')}---\n{service('b')}---\n{service('c')}")
    listener = listen(tmp_path)
    listener.take()
    put(tmp_path / "a.yaml", f"# said\n{service('a')}---\n{service('b', 81)}")
    assert set(listener.take()) == {ref("b"), ref("c")}


def test_a_broken_file_keeps_its_objects_until_it_is_mended(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "a.yaml"
    put(path, service("a"))
    listener = listen(tmp_path)
    listener.take()
    put(path, "kind: Service\n  metadata: [")
    (change,) = listener.take().values()
    assert (change.ref, change.keep) == (file(path), True)
    assert change.diagnostics[0].why is Why.UNREADABLE
    assert "line 2, column 11" in change.diagnostics[0].message
    put(path, service("a"))
    (change,) = listener.take().values()
    assert (change.ref, change.keep, change.diagnostics) == (file(path), False, ())


def test_a_broken_object_is_kept_and_the_others_go_on(tmp_path: Path, listen: Listen) -> None:
    put(tmp_path / "a.yaml", f"{service('a')}---\n{service('b')}")
    listener = listen(tmp_path)
    listener.take()
    put(tmp_path / "a.yaml", f"{service('a', 0)}---\n{service('b', 81)}")
    batch = listener.take()
    assert batch[ref("a")].keep
    assert batch[ref("a")].diagnostics[0].field == "spec.ports[0].port"
    assert port_of(batch[ref("b")]) == 81


def test_of_two_files_with_an_object_the_first_wins(tmp_path: Path, listen: Listen) -> None:
    put(tmp_path / "b.yaml", service("a", 2))
    listener = listen(tmp_path)
    listener.take()
    put(tmp_path / "a.yaml", service("a", 1))
    batch = listener.take()
    assert port_of(batch[ref("a")]) == 1
    (found,) = batch[file(tmp_path / "b.yaml")].diagnostics
    assert (found.why, found.level) == (Why.CONFLICT, Level.WARNING)
    assert str(tmp_path / "a.yaml") in found.message
    (tmp_path / "a.yaml").unlink()
    batch = listener.take()
    assert port_of(batch[ref("a")]) == 2
    assert batch[file(tmp_path / "b.yaml")].diagnostics == ()


def test_folders_come_and_go(tmp_path: Path, listen: Listen) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "x" / "y").mkdir(parents=True)
    (outside / "deep").mkdir(parents=True)
    put(root / "x" / "y" / "a.yaml", service("a", 1))
    put(outside / "deep" / "b.yaml", service("b", 1))
    listener = listen(root)
    listener.take()
    outside.rename(root / "inside")
    listener.until({ref("b"): 1})
    put(root / "inside" / "deep" / "b.yaml", service("b", 2))
    listener.until({ref("b"): 2})
    (root / "inside").rename(outside)
    listener.until({ref("b"): None})
    put(outside / "deep" / "b.yaml", service("b", 3))
    shutil.rmtree(root / "x")
    listener.until({ref("a"): None})
    (root / "x" / "z").mkdir(parents=True)
    (root / "x" / "z" / "a.yaml").write_text(service("a", 2))
    assert ref("b") not in {change.ref for change in listener.until({ref("a"): 2})}


@pytest.mark.parametrize("gone", ["root", "above"])
def test_a_watched_folder_may_be_deleted_and_made_again(
    tmp_path: Path, listen: Listen, gone: str
) -> None:
    root = tmp_path / "above" / "root"
    root.mkdir(parents=True)
    put(root / "a.yaml", service("a", 1))
    listener = listen(root)
    listener.take()
    for port in range(2, 6):
        shutil.rmtree(root if gone == "root" else root.parent)
        listener.until({ref("a"): None})
        root.mkdir(parents=True)
        put(root / "a.yaml", service("a", port))
        listener.until({ref("a"): port})


def test_a_path_that_does_not_exist_yet_is_awaited(tmp_path: Path, listen: Listen) -> None:
    listener = listen(tmp_path / "x" / "y.conf")
    (change,) = listener.take().values()
    assert change.diagnostics[0].message == "no such file or folder"
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y.conf").write_text(service("a"))
    seen = listener.until({ref("a"): 80})
    assert Change(change.ref, None, seen[-1].arrived_s) in seen


def test_a_configmap_volume_swaps_a_link(tmp_path: Path, listen: Listen) -> None:
    def fill(version: int) -> None:
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.yaml").write_text(service("a", version))
        (tmp_path / "..data_tmp").symlink_to(f"..{version}")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    fill(1)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    listener = listen(tmp_path)
    assert set(listener.take()) == {ref("a")}
    for version in range(2, 5):
        fill(version)
        shutil.rmtree(tmp_path / f"..{version - 1}")
        assert all(change.resource for change in listener.until({ref("a"): version}))


@pytest.mark.parametrize("root", ["current", "current/sub", "current/sub/a.yaml"])
def test_a_root_below_a_link_follows_the_link(tmp_path: Path, listen: Listen, root: str) -> None:
    for version in (1, 2):
        (tmp_path / f"v{version}" / "sub").mkdir(parents=True)
        put(tmp_path / f"v{version}" / "sub" / "a.yaml", service("a", version))
    (tmp_path / "current").symlink_to("v1")
    listener = listen(tmp_path / root)
    listener.take()
    (tmp_path / "next").symlink_to("v2")
    (tmp_path / "next").rename(tmp_path / "current")
    listener.until({ref("a"): 2})
    put(tmp_path / "v2" / "sub" / "a.yaml", service("a", 3))
    listener.until({ref("a"): 3})


def test_the_target_of_a_link_is_watched(tmp_path: Path, listen: Listen) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "kept").write_text(service("a", 1))
    (tmp_path / "root" / "a.yaml").symlink_to(tmp_path / "kept")
    listener = listen(tmp_path / "root")
    listener.take()
    (tmp_path / "kept").write_text(service("a", 2))
    listener.until({ref("a"): 2})


def test_links_in_a_circle_end(tmp_path: Path, listen: Listen) -> None:
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    put(tmp_path / "a.yaml", service("a"))
    assert ref("a") in listen(tmp_path).take()


def test_a_pipe_is_no_manifest(tmp_path: Path, listen: Listen) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (change,) = listen(tmp_path).take().values()
    assert change.diagnostics[0].message == "not a regular file"


def test_after_stop_nothing_comes(tmp_path: Path, listen: Listen) -> None:
    listener = listen(tmp_path)
    listener.source.stop()
    put(tmp_path / "a.yaml", service("a"))
    assert listener.batches.empty()


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a:\n- [b", "line 3, column 1: ", id="syntax"),
        pytest.param("a: b\n\tc: d", "line 2, column 1: ", id="tab"),
        pytest.param("a: *b", "undefined alias", id="no-anchor"),
        pytest.param("a: &a [*a]", "line 1, column 8: an alias inside", id="recursive"),
        pytest.param(BOMB, "more than 1000000 values", id="alias-bomb"),
        pytest.param("[" * 200_000, "line 1, column 101: nested more than 100", id="deep"),
        pytest.param("- " * 200_000, "nested more than 100", id="deep-block"),
        pytest.param(
            "a: !!python/name:os.system x", "could not determine a constructor", id="code"
        ),
        pytest.param("a: !!int x", "tag", id="wrong-tag"),
        pytest.param("a: !!set {b}", "line 1, column 4: the tag", id="set"),
        pytest.param(
            "a: 1\nb:\n  c: 1\n  c: 2", "line 3, column 3: the key 'c' stands", id="twice"
        ),
        pytest.param("<<: 1", "<< wants a mapping", id="merge"),
        pytest.param("? [a]\n: b", "a key that is", id="key"),
        pytest.param("a: \x00", "control characters", id="control"),
        pytest.param("#" * (8 * 2**20 + 1), "more than 8388608 bytes", id="large"),
    ],
)
def test_what_is_not_readable_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    resources, (found,) = read_paths([path])
    assert not resources
    assert (found.ref, found.why) == (file(path), Why.UNREADABLE)
    assert said in found.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"a: \xff", "line 1, column 4: not UTF-8", id="encoding"),
        pytest.param(b"kind: x", "not an object of Kubernetes", id="no-object"),
        pytest.param(service("X").encode(), "Service: 'X' is not allowed", id="bad-name"),
        pytest.param((service("a") + "---\n" + service("a")).encode(), "stands above", id="twice"),
    ],
)
def test_the_file_is_named_where_no_object_can_be(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    _, (found,) = read_paths([path])
    assert found.ref == file(path)
    assert said in found.message


@pytest.mark.parametrize(
    "text", ['{\n "a": }', '{"a": 1, "a": 2}', "[" * 200_000, '{"a": ' + "9" * 5000 + "}"]
)
def test_json_is_read_as_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    _, (found,) = read_paths([tmp_path])
    assert found.why is Why.UNREADABLE


def test_paths_and_standard_input_are_read_once(tmp_path: Path) -> None:
    put(tmp_path / "a.yaml", service("a"))
    put(tmp_path / "readme.md", "no manifest")
    stdin = io.BytesIO(service("b").encode())
    resources, found = read_paths([tmp_path, Path("-"), tmp_path / "nothing"], stdin)
    assert [one.ref for one in resources] == [ref("a"), ref("b")]
    assert [one.ref for one in found] == [file(tmp_path / "nothing")]


@pytest.mark.parametrize(
    "text",
    [
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}, "x\\/": 1}',
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {}}",
        "\ufeff" + service("a"),
        "",
        "---\n---\n",
    ],
)
def test_standard_input_is_json_or_yaml(text: str) -> None:
    resources, found = read_paths([Path("-")], io.BytesIO(text.encode()))
    assert [one.ref for one in resources] == ([ref("a")] if "Service" in text else [])
    assert not found


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param("{a/b: 2024-05-01}", id="time"),
        pytest.param("{<<: {a/b: 2024-05-01}}", id="merge"),
        pytest.param("{<<: [{a/b: 2024-05-01}, {a/b: x}], }", id="first-of-merged"),
        pytest.param("{<<: {a/b: x}, a/b: 2024-05-01}", id="written-over-merged"),
        pytest.param("{a/b: !!str 2024-05-01}", id="tag"),
        pytest.param("{a/b: &t '2024-05-01', c: *t}", id="alias"),
    ],
)
def test_yaml_means_what_it_means_elsewhere(annotations: str) -> None:
    text = service("a").replace("name: a}", f"name: a, annotations: {annotations}}}")
    (resource,), found = read_paths([Path("-")], io.BytesIO(text.encode()))
    assert not found
    assert resource.meta.annotations["a/b"] == "2024-05-01"
