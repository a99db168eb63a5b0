"""A setting is declared once: the `knob` gives its key, grammar, default and documentation.

A class of settings is a frozen attrs class whose fields are knobs. `read` makes an instance of
it from texts, `knobs` lists what it declares for help texts and the generated reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from attrs import AttrsInstance, field, fields, frozen

from haproxy_ingress.grammars import Grammar, GrammarError, Repeated

T = TypeVar("T")
Settings = TypeVar("Settings", bound=AttrsInstance)

_METADATA = "haproxy_ingress.knob"


@frozen
class Knob:
    """One declaration.

    key: what the user writes. name: the attribute that holds the value. default: as the user
    would write it.
    """

    key: str
    grammar: Grammar[Any]
    default: str
    doc: str
    name: str = ""


@frozen
class Problem:
    """A setting that could not be understood; its default applies.

    message: what is wrong. allowed: what would have been accepted.
    """

    key: str
    message: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}; allowed: {self.allowed}"


def knob(key: str, grammar: Grammar[T], *, default: str, doc: str) -> T:
    """Declare a field of a class of settings.

    Raises `GrammarError` when the class is defined with a *default* that *grammar* refuses.
    """
    declared = Knob(key, grammar, default, doc)
    value: T = field(default=grammar.parse(default), metadata={_METADATA: declared})
    return value


def knobs(cls: type[AttrsInstance]) -> tuple[Knob, ...]:
    """What *cls* declares, in the order of its fields."""
    declared = ((one.name, one.metadata.get(_METADATA)) for one in fields(cls))
    return tuple(
        Knob(knob.key, knob.grammar, knob.default, knob.doc, name)
        for name, knob in declared
        if knob is not None
    )


def read(
    cls: type[Settings], values: Mapping[str, str | Sequence[str]]
) -> tuple[Settings, tuple[Problem, ...]]:
    """An instance of *cls* from *values* by key, and everything that is wrong with them.

    A key without a value, or with one that is not understood, has its default. Keys that *cls*
    does not declare are nobody's business here. A sequence of texts is for a `Repeated` grammar:
    its items are taken as they are, where a single text is split.
    """
    understood: dict[str, Any] = {}
    problems = []
    for declared in knobs(cls):
        if declared.key in values:
            try:
                understood[declared.name] = _parse(declared.grammar, values[declared.key])
            except GrammarError as error:
                problems.append(Problem(declared.key, error.message, error.allowed))
    return cls(**understood), tuple(problems)


def _parse(grammar: Grammar[Any], value: str | Sequence[str]) -> Any:
    if isinstance(value, str):
        return grammar.parse(value)
    if isinstance(grammar, Repeated):
        return grammar.parse_each(value)
    raise TypeError(f"several values for {grammar}")
