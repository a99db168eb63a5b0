"""What every typed call does, said once for all versions, and for whoever speaks like them.

Each call is a function of a client that makes it and looks at what became of it. It is registered
under the name of the call, with the feature that it needs.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from haproxy.calls import Client
from haproxy.capabilities import Feature

Act = Callable[[Client], None]


@frozen
class Contract:
    """name: such as ``maps.add``. needs: what a version must have for it; without, it refuses.

    apply: whether `haproxy.apply` uses the commands behind it, so that a double must know them.
    """

    name: str
    act: Act
    needs: Feature | None = None
    apply: bool = False


CONTRACTS: dict[str, Contract] = {}


def call(name: str, needs: Feature | None = None, *, apply: bool = False) -> Callable[[Act], Act]:
    """Registers a function as what is to be seen of the call *name*."""

    def register(act: Act) -> Act:
        assert name not in CONTRACTS, name
        CONTRACTS[name] = Contract(name, act, needs, apply)
        return act

    return register
