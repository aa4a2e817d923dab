"""A real engine that hangs in one way after another: each is called by its name, and what is no hang is not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.engine.tracing.hang.hangkinds import DEVICE, KINDS, RANKS, Kind, is_right
from tests.engine.tracing.hang.hungserver import HungServer

pytestmark = [pytest.mark.engine, pytest.mark.slow(150)]
SHARED = {
    setting: [kind for kind in KINDS if kind.setting == setting and not kind.fatal] for setting in (RANKS, DEVICE)
}


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HungServer]:
    """One engine for all kinds of a setting, which recovers from each."""
    with HungServer(tmp_path_factory.mktemp("hung"), request.param) as running:
        yield running


@pytest.mark.parametrize("server", [RANKS], indirect=True)
@pytest.mark.parametrize("kind", SHARED[RANKS], ids=lambda kind: kind.name)
def test_each_kind_is_named(server: HungServer, kind: Kind) -> None:
    assert_named(server, kind)


@pytest.mark.parametrize("server", [DEVICE], indirect=True)
@pytest.mark.parametrize("kind", SHARED[DEVICE], ids=lambda kind: kind.name)
def test_each_kind_of_a_device_is_named(server: HungServer, kind: Kind) -> None:
    assert_named(server, kind)


def assert_named(server: HungServer, kind: Kind) -> None:
    """A hang of this kind, which has to be named, and from which the look lets nobody go on."""
    with server.state(kind, random.Random(kind.name)):
        stopped = server.stopped()
        explanation = server.explanation(kind)
        assert server.stopped() == stopped, "a look lets no stopped process go on, and leaves none stopped"
    assert is_right(kind, explanation), explanation
