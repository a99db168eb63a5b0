"""How the paths of an Ingress are matched."""

from __future__ import annotations

from attrs import frozen

from haproxy_ingress.grammars import BOOL
from haproxy_ingress.settings import knob


@frozen
class Routing:
    """What decides which requests are an Ingress's."""

    use_regex: bool = knob(
        "use-regex",
        BOOL,
        default="false",
        doc="Paths of type ImplementationSpecific are regular expressions (PCRE2), anchored at "
        "the start of the path and case-sensitive. Otherwise they match as Prefix.",
    )
