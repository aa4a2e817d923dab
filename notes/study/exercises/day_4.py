"""Day 4, time-outs and retries: a caller against a real server that fails on purpose, and what a batch kept of it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp

from notes.study.exercises import Exercise, WrongAnswer, expect, ms, same
from notes.study.exercises.batchfile import distribution_right, retries_seen
from notes.study.exercises.errorclasses import BODY, by_exception, by_status
from notes.study.exercises.stubserver import ANSWER, Stub, serving

BACKOFF_S = 0.1
TIMEOUT_S = 0.3  # where it is meant to pass; elsewhere a slow machine must not make it
PATIENT_S = 5.0
WAIT_S = 3.0
EARLY_S = 0.01  # how much earlier than asked a timer may fire


async def call(
    mine: Any, stub: Stub, attempts: int = 3, timeout_s: float = PATIENT_S, backoff_s: float = BACKOFF_S
) -> Any:
    """The learner's call, with a session that has no time-out of its own."""
    for name in ("Refused", "GaveUp"):
        kind = getattr(mine, name, None)
        expect(isinstance(kind, type) and issubclass(kind, Exception), f"your file has no exception class {name}")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        return await mine.call_with_retry(session, stub.url, BODY, attempts, timeout_s, backoff_s)


async def answers(mine: Any) -> None:
    """a server that answers is asked once, with the body as JSON, and its JSON returned"""
    with serving(200) as stub:
        same(await call(mine, stub), ANSWER, "what it returned")
        same(len(stub.bodies), 1, "the number of requests")
        same(json.loads(stub.bodies[0] or b"null"), BODY, "the body that arrived", "session.post(url, json=body)")


async def tries_again(mine: Any) -> str:
    """503 twice and then an answer: three requests, with a pause that doubles"""
    with serving(503, 503, 200) as stub:
        same(await call(mine, stub), ANSWER, "what it returned")
    same(len(stub.bodies), 3, "the number of requests")
    for number, (gap_s, least_s) in enumerate(zip(stub.gaps_s, (BACKOFF_S, 2 * BACKOFF_S), strict=True), 1):
        expect(
            gap_s >= least_s - EARLY_S,
            f"pause {number} was {ms(gap_s)}, less than {ms(least_s)}",
            "await asyncio.sleep(backoff_s * 2**attempt): a server in trouble needs more air each time",
        )
    return "pauses of " + " and ".join(map(ms, stub.gaps_s))


async def not_refusals(mine: Any) -> None:
    """400 is the request's own fault: Refused at once, with the server's words, and no second request"""
    with serving(400) as stub:
        try:
            answer = await call(mine, stub)
        except mine.Refused as refusal:
            expect("says the server" in str(refusal), f"Refused says {str(refusal)!r}, not what the server said")
        except mine.GaveUp:
            raise WrongAnswer("it gave up instead of raising Refused", "GaveUp is for what might have worked") from None
        else:
            raise WrongAnswer(f"the server said 400, and it returned {answer!r}", "look at response.status")
    same(len(stub.bodies), 1, "the number of requests", "the same request gets the same refusal")


async def gives_up(mine: Any) -> None:
    """a server that only says 500 is asked `attempts` times; then GaveUp, which names the last reason"""
    for attempts in (1, 3):
        with serving(500) as stub:
            try:
                answer = await call(mine, stub, attempts, backoff_s=0.01)
            except mine.GaveUp as error:
                expect("500" in str(error), f"GaveUp says {str(error)!r}: the reason, 500, is not in it")
            else:
                raise WrongAnswer(f"the server said nothing but 500, and it returned {answer!r}")
        same(len(stub.bodies), attempts, f"the number of requests with attempts={attempts}")


async def times_out(mine: Any) -> str:
    """a server that falls silent is given `timeout_s`, then asked again"""
    with serving("sleep", 200) as stub:
        start_s = time.monotonic()
        try:
            answer = await asyncio.wait_for(call(mine, stub, timeout_s=TIMEOUT_S), WAIT_S)
        except TimeoutError:
            if time.monotonic() - start_s < WAIT_S - 0.1:
                raise WrongAnswer(
                    "the time-out came out of it instead of a second attempt", "catch TimeoutError"
                ) from None
            raise WrongAnswer(
                f"with timeout_s={TIMEOUT_S} it waited on for {WAIT_S:g} s",
                "asyncio.timeout(timeout_s), or session.post(..., timeout=aiohttp.ClientTimeout(total=timeout_s))",
            ) from None
        same(answer, ANSWER, "what it returned")
    return f"an answer after {ms(time.monotonic() - start_s)} from a server that had fallen silent the first time"


async def survives_a_hang_up(mine: Any) -> None:
    """a connection that breaks is tried again; one that is refused, given up"""
    with serving("hang up", 200) as stub:
        same(await call(mine, stub), ANSWER, "what it returned")
    closed = Stub()
    closed.url = stub.url  # nobody listens there any more
    try:
        await call(mine, closed, 2, backoff_s=0.01)
    except mine.GaveUp:
        return
    raise WrongAnswer("nobody listens at the port, and it did not raise GaveUp")


async def heeds_the_server(mine: Any) -> str:
    """429 with Retry-After: it waits at least as long as the server asks for"""
    with serving((429, {"Retry-After": "1"}), 200) as stub:
        same(await call(mine, stub), ANSWER, "what it returned")
    gap_s = stub.gaps_s[0]
    expect(gap_s >= 1 - EARLY_S, f"the server asked for 1 s, and got {ms(gap_s)}", "max(pause, Retry-After)")
    return f"Retry-After: 1, waited {ms(gap_s)}"


async def ends_when_cancelled(mine: Any) -> None:
    """cancelled, it stops: no further request, and CancelledError comes out"""
    with serving("sleep", 200) as stub:
        task = asyncio.ensure_future(call(mine, stub))
        while not (stub.arrivals_s or task.done()):
            await asyncio.sleep(0.01)
        task.cancel()
        ended, _ = await asyncio.wait({task}, timeout=2)
        expect(
            bool(ended),
            "two seconds after it was cancelled it still runs",
            "`except Exception` lets CancelledError go by",
        )
        expect(task.cancelled(), "it was cancelled, and ended as if nothing was", "a bare `except:` catches that too")
    same(len(stub.bodies), 1, "the number of requests")


EXERCISES = (
    Exercise(
        "call_with_retry",
        (
            answers,
            tries_again,
            not_refusals,
            gives_up,
            times_out,
            survives_a_hang_up,
            heeds_the_server,
            ends_when_cancelled,
        ),
    ),
    Exercise("error_class", (by_status, by_exception)),
    Exercise("RUNS", (retries_seen,)),
    Exercise("failures", (distribution_right,)),
)
