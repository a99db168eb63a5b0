"""Only what read something that was touched is done again."""

from __future__ import annotations

import pytest
from attrs import define, field

from haproxy_ingress.diagnostics import Ref
from haproxy_ingress.memo import Memo, Redone
from haproxy_ingress.store import Store, View
from tests.haproxy_ingress.objects import gone, put, service


@define
class Translations:
    """Keys name the Services to read, separated by +; the result is their addresses, or "-".

    done: the keys that were computed since this was last asked.
    """

    store: Store = field(factory=Store)
    done: list[str] = field(factory=list)
    memo: Memo[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.memo = Memo(self._compute)

    def _compute(self, key: str, view: View) -> str:
        self.done.append(key)
        found = (view.service("ns", name) for name in key.split("+"))
        return " ".join(one.cluster_ip if one else "-" for one in found)

    def put(self, name: str, address: str) -> dict[str, Redone[str]]:
        changed = self.store.update(put(service(name, cluster_ip=address)))
        return self.memo.update(self.store, changed)

    def asked(self) -> list[str]:
        done, self.done = sorted(self.done), []
        return done


@pytest.fixture
def made() -> Translations:
    made = Translations()
    made.memo.update(made.store, (), add=["a", "b", "a+b"])
    made.asked()
    return made


def test_what_is_new_is_computed() -> None:
    made = Translations()
    assert made.memo.update(made.store, (), add=["a"]) == {"a": Redone(None, "-")}
    assert made.memo.get("a") == "-"
    assert list(made.memo.values()) == ["-"]


def test_what_was_absent_comes(made: Translations) -> None:
    assert made.put("a", "1") == {"a": Redone("-", "1"), "a+b": Redone("- -", "1 -")}
    assert made.asked() == ["a", "a+b"]


def test_what_was_there_goes(made: Translations) -> None:
    made.put("b", "1")
    touched = made.store.update(gone(Ref("Service", "ns", "b")))
    assert made.memo.update(made.store, touched)["b"] == Redone("1", "-")


def test_what_nobody_read_leads_to_nothing(made: Translations) -> None:
    assert not made.put("c", "1")
    assert not made.asked()


def test_what_comes_out_the_same_is_not_told(made: Translations) -> None:
    assert not made.put("a", "-")
    assert made.asked() == ["a", "a+b"]


def test_what_is_dropped_is_forgotten(made: Translations) -> None:
    redone = made.memo.update(made.store, (), drop=["a+b", "never there"])
    assert redone == {"a+b": Redone("- -", None)}
    made.put("b", "1")
    assert made.asked() == ["b"]
    assert made.memo.get("a+b") is None


def test_reads_follow_the_last_computation() -> None:
    """It reads b only while there is no a."""
    done: list[str] = []

    def compute(key: str, view: View) -> bool:
        done.append(key)
        return view.service("ns", "a") is not None or view.service("ns", "b") is not None

    kept, memo = Store(), Memo(compute)
    memo.update(kept, (), add=["k"])
    memo.update(kept, kept.update(put(service("a"))))
    memo.update(kept, kept.update(put(service("b"))))
    assert done == ["k", "k"]
