"""A real engine that hangs in one way after another: each is called by its name, and what is no hang is not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.engine.hungserver import KINDS, HungServer, Kind, is_right

OF_RANKS = [kind for kind in KINDS if not kind.on_device]
OF_DEVICE = [kind for kind in KINDS if kind.on_device]
pytestmark = [pytest.mark.engine, pytest.mark.slow(120)]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HungServer]:
    """One engine for all kinds, which recovers from each; with a pretend device where that is asked for."""
    with HungServer(tmp_path_factory.mktemp("hung"), on_device=request.param) as running:
        yield running


@pytest.mark.parametrize("server", [False], indirect=True, ids=["ranks"])
@pytest.mark.parametrize("kind", OF_RANKS, ids=lambda kind: kind.name)
def test_each_kind_is_named(server: HungServer, kind: Kind) -> None:
    assert_named(server, kind)


@pytest.mark.parametrize("server", [True], indirect=True, ids=["device"])
@pytest.mark.parametrize("kind", OF_DEVICE, ids=lambda kind: kind.name)
def test_each_kind_of_a_device_is_named(server: HungServer, kind: Kind) -> None:
    assert_named(server, kind)


def assert_named(server: HungServer, kind: Kind) -> None:
    """A hang of this kind, which has to be named, and from which the look lets nobody go on."""
    with server.state(kind.name, random.Random(kind.name)):
        stopped = server.stopped()
        explanation = server.explanation()
        assert server.stopped() == stopped, "a look lets no stopped process go on, and leaves none stopped"
    assert is_right(kind, explanation), explanation
