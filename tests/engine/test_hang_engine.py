"""A real engine that hangs in one way after another: each is called by its name, and what is no hang is not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.engine.hanging import hanging
from tests.engine.hungserver import CLIENT, KINDS, PREFILL, HungServer, Kind, is_right

# A minute's worth of one server is tested here; the bench goes through all.
ON_THE_BENCH = (hanging.LOOP, hanging.COLLECTION, hanging.LOST_TO_WORKER, hanging.SLOW, PREFILL, CLIENT, hanging.DEVICE)
pytestmark = [pytest.mark.engine, pytest.mark.slow(60)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HungServer]:
    """One engine for all kinds: it recovers from each."""
    with HungServer(tmp_path_factory.mktemp("hung")) as running:
        yield running


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name not in ON_THE_BENCH], ids=lambda kind: kind.name)
def test_each_kind_is_named(server: HungServer, kind: Kind) -> None:
    with server.state(kind.name, random.Random(kind.name)):
        stopped = server.stopped()
        explanation = server.explanation()
        assert server.stopped() == stopped, "a look lets no stopped process go on, and leaves none stopped"
    assert is_right(kind, explanation), explanation
