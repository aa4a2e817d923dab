"""Day 3, async generators: what a server must clean up when a client leaves, and what a client must close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from notes.study import recording
from notes.study.exercises import Exercise, WrongAnswer, expect, no_task_left, same
from notes.study.exercises.handlers import as_in_generate

PIECE_S = 0.01
HINT = "try: … except (asyncio.CancelledError, GeneratorExit): await engine.abort(request); raise"


class Request:
    """What `Engine.add` returns: `get` has the next piece of text, None at the end, or raises what the engine met."""

    def __init__(self, pieces: list[object]) -> None:
        self._pieces: asyncio.Queue[object] = asyncio.Queue()
        self.task = asyncio.ensure_future(self._produce(pieces))

    async def _produce(self, pieces: list[object]) -> None:
        for piece in [*pieces, None]:
            await asyncio.sleep(PIECE_S)
            self._pieces.put_nowait(piece)

    async def get(self) -> Any:
        piece = await self._pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece


class Engine:
    """A tiny engine: one task a request, as the core has a place in its batch, which somebody must free."""

    def __init__(self, *pieces: object) -> None:
        self.pieces = list(pieces)
        self.requests: list[Request] = []
        self.aborted: list[Request] = []

    async def add(self, prompt: str) -> Request:
        await asyncio.sleep(0)
        self.requests.append(Request(self.pieces))
        return self.requests[-1]

    async def abort(self, request: Request) -> None:
        await asyncio.sleep(PIECE_S)  # a message to another process
        request.task.cancel()
        self.aborted.append(request)

    @property
    def running(self) -> int:
        return sum(not (request.task.done() or request.task.cancelling()) for request in self.requests)


def generator(mine: Any, engine: Engine) -> AsyncGenerator[Any, None]:
    """The learner's stream, of the kind that it must be."""
    answer: Any = mine.stream(engine, "Hello")
    if asyncio.iscoroutine(answer):
        answer.close()
    expect(
        hasattr(answer, "asend"),
        f"stream(engine, prompt) gives a {type(answer).__name__}, not an async generator",
        "async def with yield in it",
    )
    stream: AsyncGenerator[Any, None] = answer
    return stream


async def whole(mine: Any) -> None:
    """read to its end it yields every piece, and a request that ended is not aborted"""
    before = asyncio.all_tasks()
    engine = Engine("Hel", "lo", "!")
    same([piece async for piece in generator(mine, engine)], ["Hel", "lo", "!"], "what came out")
    expect(not engine.aborted, "a request that had ended was aborted", "abort only what is left before its end")
    await no_task_left(before, "the stream ended")


async def left(mine: Any) -> None:
    """a client that leaves after two pieces frees the engine: the request is aborted before aclose() returns"""
    engine = Engine(*"abcdefgh")
    stream = generator(mine, engine)
    await anext(stream)
    await anext(stream)
    try:
        await stream.aclose()
    except RuntimeError as error:
        raise WrongAnswer(
            f"closing it raised {error}", "after GeneratorExit nothing may be yielded; raise it again"
        ) from None
    expect(len(engine.aborted) == 1, _aborted(engine, "the client left"), HINT)
    expect(engine.running == 0, f"{engine.running} request(s) still run in the engine after the client left")


def _aborted(engine: Engine, when: str) -> str:
    times = len(engine.aborted)
    return f"{when}, and the engine goes on with its request" if not times else f"{when}: aborted {times} times"


async def cancelled(mine: Any) -> None:
    """so does one whose task is cancelled while it waits, for the first piece too; and the task ends as cancelled"""
    for read_s, when in ((0.5 * PIECE_S, "before the first piece"), (3.5 * PIECE_S, "between two pieces")):
        engine = Engine(*"abcdefgh")
        stream = generator(mine, engine)

        async def read(stream: AsyncGenerator[Any, None] = stream) -> None:
            async for _ in stream:
                pass

        task = asyncio.ensure_future(read())
        await asyncio.sleep(read_s)
        task.cancel()
        await asyncio.wait({task}, timeout=3)
        expect(task.cancelled(), f"cancelled {when}, the reader's task did not end as cancelled", "raise it again")
        expect(len(engine.aborted) == 1, _aborted(engine, f"the reader was cancelled {when}"), HINT)


async def failed(mine: Any) -> None:
    """what the engine raises reaches the client"""
    stream = generator(mine, Engine("a", OSError("the engine died")))
    pieces = []
    try:
        async with aclosing(stream):
            async for piece in stream:
                pieces.append(piece)
    except OSError:
        same(pieces, ["a"], "what came before the error")
        return
    raise WrongAnswer(
        "the engine raised an OSError, and the client saw a normal end", "do not catch what you cannot mend"
    )


async def counted(stop: dict[str, int], length: int = 8) -> AsyncGenerator[int, None]:
    """Numbers, and in `stop` how many were asked for and whether it was cleaned up."""
    try:
        for number in range(length):
            stop["asked"] = number + 1
            await asyncio.sleep(0)
            yield number
    finally:
        await asyncio.sleep(0)
        stop["closed"] = stop.get("closed", 0) + 1


async def first_some(mine: Any) -> None:
    """it returns the first pieces and asks for no more than these"""
    stop: dict[str, int] = {}
    stream = counted(stop)
    same(await mine.first_pieces(stream, 3), [0, 1, 2], "first_pieces(stream, 3)")
    expect(stop["asked"] == 3, f"it asked for {stop['asked']} pieces to return 3: each is work for the engine")
    same(await mine.first_pieces(counted({}, 2), 5), [0, 1], "first_pieces(stream, 5) of a stream of two")


async def closes(mine: Any) -> None:
    """when it returns, the stream's clean-up has run"""
    stop: dict[str, int] = {}
    stream = counted(stop)
    await mine.first_pieces(stream, 3)
    expect(
        stop.get("closed") == 1,
        "the stream is still open when first_pieces returns: its `finally` has not run",
        "leaving an `async for` by break does not close the generator: async with contextlib.aclosing(stream)",
    )


def abort_as_recorded(mine: Any) -> str:
    """the places stand in the order in which the recorded abort passed them"""
    story = recording.read().abort
    places = [span.place for span in story]
    answer = list(mine.ABORT_ORDER)
    same(sorted(answer), sorted(places), "ABORT_ORDER, sorted,", "each of the day's six places, once")
    at = next((n for n, (name, place) in enumerate(zip(answer, places, strict=True)) if name != place), None)
    if at is not None:
        raise WrongAnswer(
            f"{answer[at]} is not number {at + 1}" + (f": it does not follow {places[at - 1]}" if at else ""),
            "front end first; the core's input thread hears of it before its main loop does",
        )
    receive_ms, free_ms = (story[n].start_ns / 1e6 for n in (3, -1))
    return f"recorded: the core heard of it {receive_ms:.1f} ms after the last output, and freed it at {free_ms:.1f} ms"


EXERCISES = (
    Exercise("stream", (whole, left, cancelled, failed)),
    Exercise("first_pieces", (first_some, closes)),
    Exercise("ABORT_ORDER", (abort_as_recorded,)),
    Exercise("HANDLERS", (as_in_generate,)),
)
