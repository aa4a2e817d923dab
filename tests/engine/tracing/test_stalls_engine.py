"""Stalls put into a real engine by name are kept, with the right reason: one of each kind that stops the engine alone.

`tests/bench/stalls.py` does many, with a neighbour that takes the cores and a long prompt, which other tests beside it
would feel, or be taken for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.stalls import AFTER_NS, BEFORE_NS, inject, outcome
from tests.engine.tracing.stalledengine import STALLS, Stall, StalledEngine, stalling
from tracing.kept import keeping

pytestmark = [pytest.mark.engine, pytest.mark.slow(70)]
OF_THE_MACHINE = ("a long prompt beside short ones", "a neighbour that takes the cores")
ATTEMPTS = 3  # on a busy machine a step of its own may be as slow, and is kept first


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StalledEngine]:
    with stalling(tmp_path_factory.mktemp("stalls")) as started:
        yield started


@pytest.mark.parametrize(
    "stall", [stall for stall in STALLS if stall.name not in OF_THE_MACHINE], ids=lambda stall: stall.name
)
def test_a_stall_is_kept_with_its_reason(
    engine: StalledEngine, stall: Stall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BEFORE_NS", BEFORE_NS)
    monkeypatch.setattr(keeping, "AFTER_NS", AFTER_NS)
    reasons = []
    for seed in range(ATTEMPTS):
        seen = outcome(tmp_path / str(seed), inject(engine, stall, seed, tmp_path / str(seed)))
        if seen.is_right:
            return
        reasons.append(seen.reason)
    pytest.fail(f"kept for another reason each time, or not at all: {reasons}")
