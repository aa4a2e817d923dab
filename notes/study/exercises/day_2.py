"""Day 2, asyncio: a bounded gather, what it takes, and what blocks the loop."""

from __future__ import annotations

import asyncio
import heapq
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from notes.study.exercises import Exercise, WrongAnswer, expect, ms, no_task_left, same

JOB_S = 0.02
TICK_S = 0.005
TICKS = 20
BLOCK_S = 1.5


class Counted:
    """Jobs that sleep, and count how many of them run at once."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    def job(self, seconds: float, result: object) -> Callable[[], Awaitable[object]]:
        """A job that takes `seconds`, then returns `result`, or raises it where it is an exception."""

        async def run() -> object:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running -= 1
            if isinstance(result, Exception):
                raise result
            return result

        return run


async def in_order(mine: Any) -> None:
    """the results stand in the order of the jobs, whichever ends first"""
    jobs = Counted()
    answer = await mine.gather_limited([jobs.job(JOB_S * (3 - n), n) for n in range(3)], 3)
    expect(
        answer is not None, "it returned None", "did you forget to return, or to await gather?"
    )  # the commonest slip deserves its own words
    same(
        list(answer), [0, 1, 2], "the list for jobs that end last to first", "gather keeps the order; as_completed not"
    )
    same(list(await mine.gather_limited([], 2)), [], "the list for no jobs at all")


async def bounded(mine: Any) -> None:
    """never more than `limit` jobs run at once"""
    for limit in (1, 2, 3):
        jobs = Counted()
        await mine.gather_limited([jobs.job(JOB_S, n) for n in range(6)], limit)
        expect(
            jobs.most <= limit,
            f"with limit={limit}, {jobs.most} jobs ran at once",
            "one asyncio.Semaphore(limit) for all jobs, and the await of the job inside `async with` it",
        )


async def together(mine: Any) -> str:
    """as many as `limit` do run at once, so that the whole is faster than one by one"""
    times_s = {}
    for name, limit in (("one by one", 1), ("four at once", 4), ("all at once", 8)):
        jobs = Counted()
        start_s = time.perf_counter()
        await mine.gather_limited([jobs.job(2.5 * JOB_S, n) for n in range(8)], limit)
        times_s[name] = time.perf_counter() - start_s
        expect(
            jobs.most == limit,
            f"with limit={limit} and 8 jobs, no more than {jobs.most} ran at once",
            "`await` in a for loop runs jobs one after the other: make them all first, then await gather",
        )
    return f"8 jobs of {ms(2.5 * JOB_S)}: " + ", ".join(f"{name} {ms(seconds)}" for name, seconds in times_s.items())


async def errors_kept(mine: Any) -> None:
    """a job that raises has its exception as its result, and the others run to their end"""
    broken = ValueError("a bad prompt")
    jobs = Counted()
    ask = [jobs.job(JOB_S, "a"), jobs.job(0, broken), jobs.job(JOB_S, "b")]
    try:
        answer = await mine.gather_limited(ask, 2)
    except ValueError:
        raise WrongAnswer(
            "one job's ValueError came out of gather_limited, and the results of the others are lost",
            "gather(..., return_exceptions=True)",
        ) from None
    same(list(answer), ["a", broken, "b"], "the list where the second job raises")


async def cancelled_whole(mine: Any) -> None:
    """when it is cancelled, no job goes on behind its back"""
    before = asyncio.all_tasks()
    jobs = Counted()
    task = asyncio.ensure_future(mine.gather_limited([jobs.job(5, n) for n in range(4)], 2))
    await asyncio.sleep(JOB_S)
    task.cancel()
    ended, _ = await asyncio.wait({task}, timeout=3)
    expect(bool(ended), "it did not end when it was cancelled", "do not catch CancelledError and go on")
    expect(task.cancelled(), "it was cancelled, and ended as if nothing was", "let CancelledError through")
    await no_task_left(before, "it was cancelled")


def reference_s(durations: Sequence[float], limit: int) -> float:
    """When the last job ends, where each starts, in order, as soon as one of `limit` places is free."""
    places = [0.0] * limit
    for duration in durations:
        heapq.heapreplace(places, places[0] + duration)
    return max(places)


def predicts(mine: Any) -> None:
    """it is right for 200 random sets of jobs"""
    rng = random.Random(2)
    for case in range(200):
        durations = [rng.randint(0, 9) for _ in range(rng.randint(0, 1 + case // 10))]
        limit = rng.randint(1, 5)
        answer = mine.seconds_needed(list(durations), limit)
        expected_s = reference_s(durations, limit)
        expect(
            isinstance(answer, int | float) and abs(answer - expected_s) < 1e-9,
            f"seconds_needed({durations}, {limit}) is {answer!r}, not {expected_s:g}",
            "each job starts when the first of the `limit` places is free: keep the time at which each place is",
        )


async def meets_the_clock(mine: Any) -> str:
    """a semaphore and gather take as long as it says, by the clock"""
    durations = [0.09, 0.03, 0.03, 0.06, 0.03]
    semaphore = asyncio.Semaphore(2)

    async def job(seconds: float) -> None:
        async with semaphore:
            await asyncio.sleep(seconds)

    start_s = time.perf_counter()
    await asyncio.gather(*map(job, durations))
    times_s = time.perf_counter() - start_s
    predicted_s = float(mine.seconds_needed(durations, 2))
    expect(predicted_s <= times_s + 0.005, f"you say {ms(predicted_s)}, and it took only {ms(times_s)}")
    return f"5 jobs, two at once: you say {ms(predicted_s)}, the clock {ms(times_s)}; one by one {ms(sum(durations))}"


async def loop_goes_on(mine: Any) -> str:
    """while a blocking function works, everything else in the loop goes on"""
    heard = threading.Event()
    turns = 0

    def block(result: str) -> str | None:
        return result if heard.wait(BLOCK_S) else None  # None: the loop said nothing for all that time

    async def ticker() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(TICK_S)
            turns += 1
            if turns == TICKS:
                heard.set()

    ticking = asyncio.ensure_future(ticker())
    try:
        result = await mine.without_blocking(block, "tokens")
    finally:
        ticking.cancel()
    if not heard.is_set():
        raise WrongAnswer(
            f"the loop stood still while the function blocked, for {BLOCK_S:g} s",
            "calling it inside a coroutine does not help: give it to a thread (asyncio.to_thread)",
        )
    same(result, "tokens", "what it returned for a function that returns 'tokens'")
    return f"the loop had {turns} turns while the function blocked"


async def raises_through(mine: Any) -> None:
    """what the blocking function raises comes out of the await"""
    try:
        await mine.without_blocking(int, "no number")
    except ValueError:
        return
    raise WrongAnswer("the function raised a ValueError, and nobody heard of it", "await the thread's result")


EXERCISES = (
    Exercise("gather_limited", (in_order, bounded, together, errors_kept, cancelled_whole)),
    Exercise("seconds_needed", (predicts, meets_the_clock)),
    Exercise("without_blocking", (loop_goes_on, raises_through)),
)
