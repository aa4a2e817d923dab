"""What watching a call costs is written down of one in 32 of each site, by every kind of wrapper."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracing.hooks.eventrecords import numbers, spans, written
from tracing.events.layout import COST
from tracing.hooks import _recorder
from tracing.hooks.wrappers import scopes, table
from tracing.sites.engine import ALL_SITES, CODES

CALLS = 64
WORK_S = 0.001
LOOP = asyncio.new_event_loop()


@pytest.fixture
def file() -> Iterator[Path]:
    with written(1 << 10) as path:
        yield path


def work(*_: object) -> list[bytes]:
    time.sleep(WORK_S)
    return []


async def work_of_a_coroutine(*_: object) -> None:
    work()


async def stream() -> AsyncIterator[None]:
    while True:
        yield work() and None


def hooked(site: str, original: Callable[..., object] = work) -> Callable[..., object]:
    return table.wrapper_of(ALL_SITES[CODES[site]])(original)


def in_scope() -> None:
    with scopes.scoped(contextlib.nullcontext)("a scope"):
        work()


def calls_of(site: str) -> Callable[[], object]:
    """What makes one call of the site, by the wrapper of its kind."""
    if site == "async.generate":
        outputs = hooked(site, stream)()
        return lambda: LOOP.run_until_complete(outputs.__anext__())  # type: ignore[attr-defined]
    if site == "async.abort":
        abort = hooked(site, work_of_a_coroutine)
        return lambda: LOOP.run_until_complete(abort(None))  # type: ignore[arg-type]
    return in_scope if site == "scope" else partial(hooked(site), None, SimpleNamespace(timestamp=1.5))


@pytest.mark.parametrize(
    "site", ["runner.update", "executor.wait", "core.encode", "async.generate", "async.abort", "scope"]
)
def test_the_cost_of_one_call_in_32_is_written_without_the_call_itself(file: Path, site: str) -> None:
    call, around = calls_of(site), list[int]()
    for _ in range(CALLS):
        before = _recorder.now()
        call()
        around.append(_recorder.now() - before)
    lengths = [span["end"] - span["start"] for span in spans(file) if span["site"] == CODES[site]][-CALLS:]
    costs = numbers(file, COST)
    assert [code for code, _ in costs] == [CODES[site]] * (CALLS // 32)
    assert max(ns for _, ns in costs) <= max(took - length for took, length in zip(around, lengths, strict=True))


def test_a_call_that_raises_has_no_cost(file: Path) -> None:
    for _ in range(CALLS):
        with pytest.raises(ZeroDivisionError):
            hooked("runner.update", lambda: 1 // 0)()
    assert len(spans(file)) == CALLS and numbers(file, COST) == []
