"""The wrapper around a collective: spans within steps alone, and nothing that a compiler cannot look through."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tracing.hooks.eventrecords import spans, written
from tracing.hooks import _recorder
from tracing.hooks.wrappers.table import wrapper_of
from tracing.sites.engine import SITES

torch = pytest.importorskip("torch")
SITE = next(site for site in SITES if site.name == "collective")


def add_one(group: Any, tensor: Any) -> Any:
    return tensor + 1


def hooked() -> Callable[..., Any]:
    return wrapper_of(SITE)(add_one)


def group(*ranks: int) -> Any:
    return SimpleNamespace(world_size=len(ranks), ranks=list(ranks))


def test_only_collectives_of_several_ranks_within_a_step_have_a_span() -> None:
    call = hooked()
    with written() as path:
        for step, ranks in ((-1, (2, 3)), (7, (2, 3)), (7, (2,))):
            _recorder.set_step(step)
            assert call(group(*ranks), 1) == 2
        assert [(span["step"], span["value"], span["extra"]) for span in spans(path)] == [(7, 2, 3)]


def test_a_compiler_sees_the_collective_itself() -> None:
    """`fullgraph` fails where a call cannot be looked through."""
    call, pair = hooked(), group(0, 1)
    compiled = torch.compile(lambda tensor: call(pair, tensor), fullgraph=True, backend="eager")
    with written():
        _recorder.set_step(3)
        assert compiled(torch.zeros(2)).tolist() == [1, 1]
