"""What can be asked for in annotations: one module a family, its keys and their effect together.

Our keys are ``haproxy-ingress.io/`` and a name. A family is a class of settings; adding a key is
one line there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from attrs import frozen

from haproxy_ingress.annotations.routing import Routing
from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.settings import knobs, read

PREFIX = "haproxy-ingress.io/"
_FAMILIES = (Routing,)
KEYS = frozenset(knob.key for family in _FAMILIES for knob in knobs(family))


@frozen
class Annotations:
    """Everything that the annotations of one Ingress ask for."""

    routing: Routing


def read_annotations(
    ref: Ref, annotations: Mapping[str, str]
) -> tuple[Annotations, tuple[Diagnostic, ...]]:
    """What *annotations* ask for, and what is wrong with them; other prefixes are not ours."""
    ours = {
        key.removeprefix(PREFIX): value
        for key, value in annotations.items()
        if key.startswith(PREFIX)
    }
    routing, problems = read(Routing, ours)
    found = [
        Diagnostic(
            ref,
            Why.ANNOTATION_INVALID,
            f"metadata.annotations[{PREFIX}{problem.key}]",
            f"{problem.message}; allowed: {problem.allowed}; the default applies",
        )
        for problem in problems
    ]
    found += [_unknown(ref, key) for key in sorted(ours.keys() - KEYS)]
    return Annotations(routing), tuple(found)


def _unknown(ref: Ref, key: str) -> Diagnostic:
    close = difflib.get_close_matches(key, KEYS, n=1)
    return Diagnostic(
        ref,
        Why.ANNOTATION_UNKNOWN,
        f"metadata.annotations[{PREFIX}{key}]",
        "unknown annotation, ignored",
        Level.WARNING,
        hint=f"did you mean {PREFIX}{close[0]}?" if close else "",
    )
