"""A server on 127.0.0.1 that talks like vLLM's and computes nothing, so that the first days need no engine.

It answers a prompt with its own words in capitals, one every `PIECE_S`; in trouble it refuses, hangs, or sends away.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any

from aiohttp import web

from probes.errors import usage_error

MODEL = "stub"
PIECE_S = 0.02
SILENT_S = 3.0
# What becomes of the n-th new prompt of a stub in trouble, n modulo 10; what is in AGAIN works at the second attempt.
OVERLOADED, SILENT, REFUSED = (1, 6), (3, 8), (0,)
AGAIN = (*OVERLOADED, *SILENT)


class PracticeServer:
    """Chat and completions, streamed or not; `troubled` prompts fail by their order of arrival."""

    def __init__(self, troubled: bool) -> None:
        self.troubled = troubled
        self._attempts: dict[str, int] = {}
        self._order: dict[str, int] = {}

    def app(self) -> web.Application:
        """The application, for whoever runs it."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/v1/completions", self._answer)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()  # whatever is sent
        chat = "messages" in body
        prompt = str(body["messages"][-1]["content"] if chat else body["prompt"])
        if (trouble := self._trouble(prompt)) is not None:
            return await trouble
        words = prompt.upper().split()[: body.get("max_tokens") or 16]
        if not body.get("stream"):
            await asyncio.sleep(PIECE_S * len(words))
            return web.json_response(_reply(" ".join(words), chat) | {"usage": _usage(prompt, words)})
        return await self._streamed(request, prompt, words, chat)

    def _trouble(self, prompt: str) -> Awaitable[web.Response] | None:
        """What is answered instead, to be awaited, or None."""
        order = self._order.setdefault(prompt, len(self._order) + 1) % 10
        self._attempts[prompt] = self._attempts.get(prompt, 0) + 1
        if not self.troubled or (order in AGAIN and self._attempts[prompt] > 1):
            return None
        if order in OVERLOADED:
            return _error(503, "too many requests are waiting", {"Retry-After": "1"})
        if order in SILENT:
            return _silence()
        return _error(400, "this prompt is longer than the model's context") if order in REFUSED else None

    async def _streamed(self, request: web.Request, prompt: str, words: list[str], chat: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, word in enumerate(words):
            await asyncio.sleep(PIECE_S)
            last = number == len(words) - 1
            await _send(response, _piece(f"{word} ", chat, "stop" if last else None))
        await _send(response, {"choices": [], "usage": _usage(prompt, words)})
        await response.write(b"data: [DONE]\n\n")
        return response


async def _send(response: web.StreamResponse, message: Mapping[str, object]) -> None:
    await response.write(b"data: " + json.dumps(message).encode() + b"\n\n")


async def _silence() -> web.Response:
    await asyncio.sleep(SILENT_S)
    return await _error(500, "somebody waited for this")


async def _error(status: int, words: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": words, "code": status}}, status=status, headers=headers)


def _reply(text: str, chat: bool) -> dict[str, object]:
    part = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return {"id": MODEL, "model": MODEL, "choices": [{"index": 0, **part, "finish_reason": "stop"}]}


def _piece(text: str, chat: bool, reason: str | None) -> dict[str, object]:
    part = {"delta": {"content": text}} if chat else {"text": text}
    return {"id": MODEL, "model": MODEL, "choices": [{"index": 0, **part, "finish_reason": reason}]}


def _usage(prompt: str, words: list[str]) -> dict[str, int]:
    """A token is a word here."""
    return {"prompt_tokens": len(prompt.split()), "completion_tokens": len(words)}


async def listening(server: PracticeServer, port: int) -> web.AppRunner:
    """Start to serve, on a free port where `port` is 0; whoever calls cleans the runner up."""
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError:
        await runner.cleanup()
        raise usage_error(
            f"port {port} is in use: end an earlier stub with Ctrl-C, or name another port with --port"
        ) from None
    return runner


async def serve(troubled: bool, port: int) -> None:
    """Serve until Ctrl-C."""
    runner = await listening(PracticeServer(troubled), port)
    kind = "a stub in trouble" if troubled else "a healthy stub"
    print(f"{kind}, model {MODEL!r}, at http://127.0.0.1:{runner.addresses[0][1]}; Ctrl-C ends it", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
