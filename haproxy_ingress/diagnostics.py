"""What is wrong with which object, in words for the person who wrote it.

A user's mistake is a value of this module, never an exception.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import evolve, frozen

MAX_PER_OBJECT = 20


@frozen(order=True)
class Ref:
    """Names one object. namespace is empty for kinds without one."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}".replace(" /", " ")


class Level(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Why(StrEnum):
    """The reason as an Event carries it."""

    INVALID = "Invalid"
    CONFLICT = "Conflict"
    BACKEND_NOT_FOUND = "BackendNotFound"
    ANNOTATION_INVALID = "AnnotationInvalid"
    ANNOTATION_UNKNOWN = "AnnotationUnknown"
    CERTIFICATE_INVALID = "CertificateInvalid"
    QUARANTINED = "Quarantined"
    UNREADABLE = "Unreadable"
    UNSUPPORTED = "Unsupported"


@frozen
class Diagnostic:
    """One finding.

    ref: the object to mend. field: where in it, as a path such as ``spec.rules[0].http.paths[1]``.
    message: what is wrong and what is allowed. hint: what was probably meant.
    """

    ref: Ref
    why: Why
    field: str
    message: str
    level: Level = Level.ERROR
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        return {
            "kind": self.ref.kind,
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "level": self.level.value,
            "reason": self.why.value,
            "field": self.field,
            "message": self.message,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        where = f"{self.ref}: {self.field}" if self.field else str(self.ref)
        return f"{where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def bounded(found: tuple[Diagnostic, ...], most: int = MAX_PER_OBJECT) -> tuple[Diagnostic, ...]:
    """The first of them, and how many more there are: a person mends the first ones first."""
    if len(found) <= most:
        return found
    more = f"and {len(found) - most} more findings"
    return (*found[:most], evolve(found[most], field="", message=more, hint=""))
