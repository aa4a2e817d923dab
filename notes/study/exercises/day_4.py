"""Day 4, time-outs and retries: a caller against a real server that fails on purpose, and vLLM's own handlers."""

from __future__ import annotations

import ast
import asyncio
import json
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from notes.study.anchored import found_at
from notes.study.exercises import Exercise, Wrong, expect, ms, same
from tracing.source.definitions import Place
from tracing.source.tree import SourceTree

if TYPE_CHECKING:
    from aiohttp import web

BACKOFF_S = 0.1
TIMEOUT_S = 0.3  # where it is meant to pass; elsewhere a slow machine must not make it
PATIENT_S = 5.0
SILENT_S = 10.0
WAIT_S = 3.0
EARLY_S = 0.01  # how much earlier than asked a timer may fire
BODY = {"prompt": "Hello", "max_tokens": 4}
ANSWER = {"text": "Hi"}
GENERATE = "vllm/v1/engine/async_llm.py:AsyncLLM.generate"


class Stub:
    """A server that behaves as its script says, an entry a request (the last goes on): a status, or what it does.

    It runs in a thread with a loop of its own, so that a caller that blocks its loop does not stop the server's clock.
    """

    def __init__(self, *script: int | str | tuple[int, dict[str, str]]) -> None:
        self.script = script
        self.arrived_s: list[float] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        self.arrived_s.append(time.monotonic())
        self.bodies.append(await request.read())
        does = self.script[min(len(self.arrived_s), len(self.script)) - 1]
        if does == "sleep":
            await asyncio.sleep(SILENT_S)
        if does == "hang up" and request.transport:
            request.transport.abort()
        status, headers = does if isinstance(does, tuple) else (does if isinstance(does, int) else 200, {})
        said = ANSWER if status == 200 else {"error": {"message": f"no, says the server ({status})"}}
        return web.json_response(said, status=status, headers=headers)

    @property
    def gaps_s(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.arrived_s, self.arrived_s[1:], strict=False)]


@contextmanager
def serving(*script: int | str | tuple[int, dict[str, str]]) -> Iterator[Stub]:
    """A stub server with this script, on a free port of 127.0.0.1."""
    from aiohttp import web

    stub = Stub(*script)
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/completions", stub.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/completions"
    try:
        yield stub
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


async def call(
    mine: Any, stub: Stub, attempts: int = 3, timeout_s: float = PATIENT_S, backoff_s: float = BACKOFF_S
) -> Any:
    """The learner's call, with a session that has no time-out of its own."""
    import aiohttp

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
            found = await call(mine, stub)
        except mine.Refused as refused:
            expect("says the server" in str(refused), f"Refused says {str(refused)!r}, not what the server said")
        except mine.GaveUp:
            raise Wrong("it gave up instead of raising Refused", "GaveUp is for what might have worked") from None
        else:
            raise Wrong(f"the server said 400, and it returned {found!r}", "look at response.status")
    same(len(stub.bodies), 1, "the number of requests", "the same request gets the same refusal")


async def gives_up(mine: Any) -> None:
    """a server that only says 500 is asked `attempts` times; then GaveUp, which names the last reason"""
    for attempts in (1, 3):
        with serving(500) as stub:
            try:
                found = await call(mine, stub, attempts, backoff_s=0.01)
            except mine.GaveUp as gave_up:
                expect("500" in str(gave_up), f"GaveUp says {str(gave_up)!r}: the reason, 500, is not in it")
            else:
                raise Wrong(f"the server said nothing but 500, and it returned {found!r}")
        same(len(stub.bodies), attempts, f"the number of requests with attempts={attempts}")


async def times_out(mine: Any) -> str:
    """a server that falls silent is given `timeout_s`, then asked again"""
    with serving("sleep", 200) as stub:
        begun = time.monotonic()
        try:
            found = await asyncio.wait_for(call(mine, stub, timeout_s=TIMEOUT_S), WAIT_S)
        except TimeoutError:
            if time.monotonic() - begun < WAIT_S - 0.1:
                raise Wrong("the time-out came out of it instead of a second attempt", "catch TimeoutError") from None
            raise Wrong(
                f"with timeout_s={TIMEOUT_S} it waited on for {WAIT_S:g} s",
                "asyncio.timeout(timeout_s), or session.post(..., timeout=aiohttp.ClientTimeout(total=timeout_s))",
            ) from None
        same(found, ANSWER, "what it returned")
    return f"an answer after {ms(time.monotonic() - begun)} from a server that had fallen silent the first time"


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
    raise Wrong("nobody listens at the port, and it did not raise GaveUp")


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
        while not (stub.arrived_s or task.done()):
            await asyncio.sleep(0.01)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2)
        expect(
            bool(done),
            "two seconds after it was cancelled it still runs",
            "`except Exception` lets CancelledError go by",
        )
        expect(task.cancelled(), "it was cancelled, and ended as if nothing was", "a bare `except:` catches that too")
    same(len(stub.bodies), 1, "the number of requests")


CLASSES = ("ok", "timeout", "overloaded", "server", "refused", "connection", "bug")
STATUS = {
    200: "ok",
    400: "refused",
    404: "refused",
    408: "timeout",
    429: "overloaded",
    500: "server",
    503: "overloaded",
}


def by_status(mine: Any) -> None:
    """every status has its class"""
    for status, wanted in STATUS.items():
        found = mine.error_class(status)
        expect(found == wanted, f"error_class({status}) is {found!r}, not {wanted!r}", "the day's table has them all")


async def by_exception(mine: Any) -> None:
    """so has every exception that a real client met"""
    import aiohttp

    met: list[tuple[str, str, Exception]] = [("a bug of your own", "bug", KeyError("choices"))]
    with serving("hang up") as broken, serving("sleep") as silent:
        async with aiohttp.ClientSession() as session:
            met.append(("a server that hangs up", "connection", await _met(session, broken.url)))
            quick = aiohttp.ClientTimeout(total=0.1)
            met.append(("a time-out in all", "timeout", await _met(session, silent.url, timeout=quick)))
            quick = aiohttp.ClientTimeout(sock_read=0.1)
            met.append(("a time-out while reading", "timeout", await _met(session, silent.url, timeout=quick)))
    async with aiohttp.ClientSession() as session:
        met.append(("a port where nobody listens", "connection", await _met(session, broken.url)))
    for words, wanted, error in met:
        found = mine.error_class(error)
        bases = ", ".join(base.__name__ for base in type(error).__mro__[:-3])
        expect(
            found == wanted,
            f"{words} gave {type(error).__name__}, which is {wanted!r} and not {found!r}",
            f"it is a {bases}: which class do you ask for first?",
        )


async def _met(session: Any, url: str, **how: Any) -> Exception:
    try:
        async with session.post(url, json=BODY, **how) as response:
            await response.read()
    except Exception as error:
        return error
    raise RuntimeError(f"{url} answered")


def handlers() -> list[tuple[tuple[str, ...], bool]]:
    """The `except` clauses of `AsyncLLM.generate` in the installed vLLM: what each catches, and whether it aborts."""
    place = found_at(GENERATE, SourceTree.find())
    if not isinstance(place, Place):
        raise Wrong(f"this exercise does not fit the installed vLLM: {place}")
    function = ast.parse(textwrap.dedent("\n".join(place.lines()))).body[0]
    outer = next(node for node in ast.walk(function) if isinstance(node, ast.Try))
    return [(_caught(handler), "self.abort(" in ast.unparse(handler)) for handler in outer.handlers]


def _caught(handler: ast.ExceptHandler) -> tuple[str, ...]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return tuple(ast.unparse(kind).rpartition(".")[2] for kind in kinds if kind)


def as_in_generate(mine: Any) -> str:
    """they are the except clauses of AsyncLLM.generate in the installed vLLM, in order"""
    wanted = handlers()
    given = list(mine.HANDLERS)
    for number, (kinds, aborts) in enumerate(wanted, 1):
        expect(len(given) >= number, f"HANDLERS has {len(given)} entries; generate has {len(wanted)} except clauses")
        entry = given[number - 1]
        expect(
            isinstance(entry, tuple) and len(entry) == 2,
            f"entry {number} is {entry!r}, not (class names, aborts or not)",
        )
        names = (entry[0],) if isinstance(entry[0], str) else tuple(entry[0])
        expect(set(names) == set(kinds), f"clause {number} does not catch {', '.join(names)}", f"read {GENERATE}")
        expect(
            bool(entry[1]) == aborts,
            f"clause {number} ({', '.join(kinds)}) {'does abort' if aborts else 'does not abort'} the request",
            "who still has a place in the core's batch, and who cannot be told any more?",
        )
    same(len(given), len(wanted), "the number of clauses")
    return f"{len(wanted)} clauses, {sum(aborts for _, aborts in wanted)} of which abort"


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
    Exercise("HANDLERS", (as_in_generate,)),
)
