"""A real engine that hangs in one way after another: each is called by its name, and what is no hang is not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.engine.hungserver import KINDS, HungServer, Kind, is_right

IN_ORDER = sorted(KINDS, key=lambda kind: kind.on_device)  # one server after the other
pytestmark = [pytest.mark.engine, pytest.mark.slow(120)]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HungServer]:
    """One engine for all kinds, which recovers from each, and another one with a pretend device."""
    with HungServer(tmp_path_factory.mktemp("hung"), on_device=request.param) as running:
        yield running


@pytest.mark.parametrize(
    ("server", "kind"),
    [(kind.on_device, kind) for kind in IN_ORDER],
    indirect=["server"],
    ids=[kind.name for kind in IN_ORDER],
)
def test_each_kind_is_named(server: HungServer, kind: Kind) -> None:
    with server.state(kind.name, random.Random(kind.name)):
        stopped = server.stopped()
        explanation = server.explanation()
        assert server.stopped() == stopped, "a look lets no stopped process go on, and leaves none stopped"
    assert is_right(kind, explanation), explanation
