"""Fixtures of the tests that send real requests through a real HAProxy.

The binary is ``$HAPROXY``, or ``haproxy`` on PATH.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.kit.daemon import Daemon, running
from tests.integration.kit.pods import Pods, echo_pods, fast_pods


@pytest.fixture(scope="session")
def echo() -> Iterator[Pods]:
    """Pods that say what they were asked."""
    with echo_pods() as pods:
        yield pods


@pytest.fixture(scope="session")
def fast() -> Iterator[Pods]:
    """Pods that bear load."""
    with fast_pods() as pods:
        yield pods


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon that has nothing to serve yet."""
    with running() as daemon:
        yield daemon
