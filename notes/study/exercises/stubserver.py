"""A server on 127.0.0.1 that fails on purpose, for the exercises of day 4."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from aiohttp import web

SILENT_S = 10.0
ANSWER = {"text": "Hi"}
Action = int | str | tuple[int, dict[str, str]]  # a status, "sleep" or "hang up", a status with headers


class Stub:
    """A server that follows its script, an action a request; the last is repeated.

    It runs in a thread with a loop of its own, so that a caller that blocks its loop does not stop the server's clock.
    """

    def __init__(self, *script: Action) -> None:
        self.script = script
        self.arrivals_s: list[float] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.arrivals_s.append(time.monotonic())
        self.bodies.append(await request.read())
        action = self.script[min(len(self.arrivals_s), len(self.script)) - 1]
        if action == "sleep":
            await asyncio.sleep(SILENT_S)
        if action == "hang up" and request.transport:
            request.transport.abort()
        status, headers = _response(action)
        body = ANSWER if status == 200 else {"error": {"message": f"no, says the server ({status})"}}
        return web.json_response(body, status=status, headers=headers)

    @property
    def gaps_s(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.arrivals_s)]


def _response(action: Action) -> tuple[int, dict[str, str]]:
    """The status and headers with which an action answers."""
    if isinstance(action, tuple):
        return action
    return (action if isinstance(action, int) else 200), {}


@contextmanager
def serving(*script: Action) -> Iterator[Stub]:
    """A stub server with this script, on a free port of 127.0.0.1."""
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
