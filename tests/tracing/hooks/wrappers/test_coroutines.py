"""A coroutine is recorded as the segments that ran, a generator as its calls, yields and end; both behave as ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.tracing.hooks.eventrecords import spans, written
from tracing.events import layout
from tracing.hooks.wrappers import coroutines
from tracing.sites.engine import CODES


@pytest.fixture
def file() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path


def test_a_coroutine_is_the_segments_that_ran(file: Path) -> None:
    async def original(engine: None, request_id: str) -> str:
        await asyncio.sleep(0.05)
        return request_id

    hooked = coroutines.coroutine(original, CODES["async.add_request"], (1, "request_id", None))
    assert asyncio.run(hooked(None, request_id="a")) == "a"
    found = spans(file)
    assert [span["value"] for span in found] == [layout.SUSPENDED, layout.ENDED]
    assert sum(span["end"] - span["start"] for span in found) < 40_000_000
    assert found[1]["start"] - found[0]["end"] > 40_000_000


class Output:
    def __init__(self, finished: bool) -> None:
        self.finished = finished


async def generate(engine: None, prompt: str, params: None, request_id: str) -> AsyncIterator[Output]:
    await asyncio.sleep(0)
    yield Output(False)
    yield Output(True)


def test_a_generator_is_called_suspended_yields_and_ends(file: Path) -> None:
    hooked = coroutines.async_generator(generate, CODES["async.generate"], (3, "request_id", None))

    async def read() -> list[bool]:
        return [output.finished async for output in hooked(None, "p", None, "a")]

    assert asyncio.run(read()) == [False, True]
    found = [(span["value"], span["extra"] & 1) for span in spans(file)]
    assert len({span["extra"] >> 1 for span in spans(file)}) == 1
    assert found == [
        (layout.CALLED, 0),
        (layout.SUSPENDED, 0),
        (layout.YIELDED, 0),
        (layout.YIELDED, 1),
        (layout.ENDED, 0),
    ]


def test_closing_a_generator_yields_nothing(file: Path) -> None:
    hooked = coroutines.async_generator(generate, CODES["async.generate"], (3, "request_id", None))

    async def left() -> None:
        stream = hooked(None, "p", None, "left")
        await anext(stream)
        await stream.aclose()

    asyncio.run(left())
    assert [span["value"] for span in spans(file)][-1] == layout.ENDED
    assert [span["value"] for span in spans(file)].count(layout.YIELDED) == 1


def test_calls_with_one_id_have_numbers_of_their_own(file: Path) -> None:
    hooked = coroutines.async_generator(generate, CODES["async.generate"], (3, "request_id", None))

    async def both() -> None:
        streams = [hooked(None, "p", None, "same") for _ in range(2)]
        await asyncio.gather(*(anext(stream) for stream in streams))

    asyncio.run(both())
    calls = [span["extra"] >> 1 for span in spans(file)]
    assert len(set(calls)) == 2 and calls[:2] == calls[2:4] == calls[4:]


def test_a_generator_that_is_left_is_closed_as_ever(file: Path) -> None:
    closed = []

    async def original(engine: None, prompt: str, params: None, request_id: str) -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            closed.append(request_id)

    hooked = coroutines.async_generator(original, CODES["async.generate"], (3, "request_id", None))

    async def leave() -> None:
        async for _ in hooked(None, "p", None, "left"):
            break
        stream = hooked(None, "p", None, "cancelled")
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        closing = hooked(None, "p", None, "closed")
        await anext(closing)
        await closing.aclose()

    asyncio.run(leave())
    assert sorted(closed) == ["cancelled", "closed", "left"]
    assert [span["value"] for span in spans(file) if span["kind"] == layout.RAISED] == [layout.ENDED]
