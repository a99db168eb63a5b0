"""What is there, what a change touches, and what was looked at."""

from __future__ import annotations

from attrs import evolve

from haproxy_ingress.diagnostics import Diagnostic, Ref, Why
from haproxy_ingress.resources import Meta, Service
from haproxy_ingress.sources import Change
from haproxy_ingress.store import ANY_CLASS, Store, View, slices_ref
from tests.haproxy_ingress.objects import gone, ingress, ingress_class, pods, put, service, store

WEB_SLICES = slices_ref("ns", "web")


class TestTouched:
    def test_new_changed_and_gone(self) -> None:
        kept = Store()
        one = ingress("shop")
        assert kept.update(put(one)) == {one.ref}
        assert kept.update(put(evolve(one, ingress_class="x"))) == {one.ref}
        assert kept.update(gone(one.ref)) == {one.ref}
        assert not kept.objects

    def test_nothing_when_it_is_the_same(self) -> None:
        assert not store(ingress("shop")).update(put(ingress("shop")))

    def test_nothing_when_what_goes_was_not_there(self) -> None:
        assert not Store().update(gone(ingress("shop").ref))

    def test_the_last_word_of_a_batch_counts(self) -> None:
        kept = store(service())
        changed = Service(Meta("web", "ns"), cluster_ip="10.1.1.1")
        kept.update((*gone(changed.ref), *put(service(), changed)))
        assert kept.objects[changed.ref] is changed

    def test_a_slice_touches_those_of_its_service(self) -> None:
        one = pods("web", "10.0.0.1")
        kept = Store()
        assert kept.update(put(one)) == {one.ref, WEB_SLICES}
        assert kept.update(gone(one.ref)) == {one.ref, WEB_SLICES}

    def test_a_slice_that_moves_touches_both(self) -> None:
        one = pods("web", "10.0.0.1", name="x")
        touched = store(one).update(put(evolve(one, service="api")))
        assert touched == {one.ref, WEB_SLICES, slices_ref("ns", "api")}

    def test_a_class_touches_who_asked_for_the_default(self) -> None:
        one = ingress_class("edge")
        kept = Store()
        assert kept.update(put(one)) == {one.ref, ANY_CLASS}
        assert kept.update(put(evolve(one, default=True))) == {one.ref, ANY_CLASS}
        assert list(kept.default_classes.values()) == [evolve(one, default=True)]
        assert kept.update(gone(one.ref)) == {one.ref, ANY_CLASS}
        assert not kept.default_classes


class TestWhatCannotBeRead:
    REF = ingress("shop").ref
    FOUND = (Diagnostic(REF, Why.INVALID, "spec", "is missing"),)

    def test_its_last_version_stays(self) -> None:
        kept = store(ingress("shop"))
        assert not kept.update([Change(self.REF, None, 0.0, self.FOUND, keep=True)])
        assert kept.objects[self.REF] == ingress("shop")
        assert kept.diagnostics == {self.REF: self.FOUND}

    def test_mended(self) -> None:
        kept = Store()
        kept.update([Change(self.REF, None, 0.0, self.FOUND, keep=True)])
        kept.update(put(ingress("shop")))
        assert not kept.diagnostics


def test_objects_are_counted_by_kind() -> None:
    kept = store(ingress("one"), ingress("two"), service())
    kept.update((*gone(ingress("one").ref), *put(ingress("two", ingress_class="x"))))
    assert dict(kept.counts) == {"Ingress": 1, "Service": 1}


def test_slices_come_in_the_order_of_their_names() -> None:
    kept = store(pods("web", name="b"), pods("web", name="a"), pods("api", name="c"))
    assert [one.meta.name for one in kept.slices(WEB_SLICES)] == ["a", "b"]
    assert not list(kept.slices(slices_ref("other", "web")))


def test_a_view_remembers_what_was_looked_at_found_or_not() -> None:
    view = View(store(service()))
    assert view.service("ns", "web") == service()
    assert view.service("ns", "none") is None
    assert view.ingress(Ref("Ingress", "ns", "none")) is None
    assert view.ingress_class("edge") is None
    assert not list(view.default_classes())
    assert view.slices("ns", "web") == ()
    assert view.reads == {
        Ref("Service", "ns", "web"),
        Ref("Service", "ns", "none"),
        Ref("Ingress", "ns", "none"),
        Ref("IngressClass", "", "edge"),
        ANY_CLASS,
        WEB_SLICES,
    }
