"""One attempt at one request: sent, timed as its pieces arrive, and judged.

Times are seconds of CLOCK_MONOTONIC. One timer serves all of an attempt's time-outs, so that a chunk costs none.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from probes.batch.answer import BAD_RESPONSE, CANCELLED, CLIENT, CONNECT, TIMEOUT, Answer, Refused, refusal
from probes.batch.sse import Events

LARGEST_BYTES = 64 * 2**20  # of one answer, unpacked; something endless must not fill the memory
LARGEST_COMPLAINT_BYTES = 64 * 2**10
DRAIN_S = 1.0  # how long a finished stream may keep its connection open before we close it
DONE = b"[DONE]"
STREAM = "text/event-stream"  # some servers send one where none was asked for
NO_STREAM = ("application/json", "text/html")


@dataclass(frozen=True)
class Limits:
    """Time-outs in seconds: to connect, to the first token, between two events of a stream, and in all."""

    connect_s: float
    first_token_s: float
    gap_s: float
    total_s: float


class Watch:
    """The one timer of an attempt: it cancels the task when `due` has passed. Moving `due` later costs nothing."""

    def __init__(self, what: str, limit_s: float, total_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.expired: str | None = None
        self._end = time.monotonic() + total_s
        self._timer: asyncio.TimerHandle | None = None
        self.allow(what, limit_s, time.monotonic())

    def allow(self, what: str, limit_s: float, now: float) -> None:
        """From `now` on, `what` may take `limit_s`, inside what is left in all."""
        self._what, self._due = (what, now + limit_s) if now + limit_s < self._end else ("in all", self._end)
        if self._timer is None or self._due < self._at:
            self._arm(now)

    def stop(self) -> None:
        """No time-out any more."""
        if self._timer:
            self._timer.cancel()

    def _arm(self, now: float) -> None:
        self.stop()
        self._at = self._due
        self._timer = self._loop.call_later(self._due - now, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._due:
            self._arm(now)
        elif self._task:
            self.expired = self._what
            self._task.cancel()


@dataclass(slots=True)
class Attempt:
    """What one attempt brought; filled as it goes, so that an interrupted one still says how far it came."""

    sent_s: float = 0.0
    ended_s: float = 0.0
    status_code: int | None = None
    answer: Answer = field(default_factory=Answer)
    stamps_s: list[float] = field(default_factory=list)  # when each chunk that carried text came
    refused: Refused | None = None
    complete: bool = False  # the whole answer is here

    async def run(self, session: aiohttp.ClientSession, url: Any, body: bytes, stream: bool, limits: Limits) -> None:
        """Send `body` and read the answer to its end; what goes wrong is in `refused`."""
        self.sent_s = time.monotonic()
        first_s = limits.first_token_s if stream else limits.total_s
        watch = Watch("until the first token", first_s, limits.total_s)
        try:
            async with session.post(url, data=body, allow_redirects=False) as response:
                self.status_code = response.status
                await self._read(response, stream, watch, limits.gap_s)
        except asyncio.CancelledError:
            self._judge_cancel(watch)
        except Refused as refused:
            self.refused = refused
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._judge(error)
        finally:
            watch.stop()
            self.ended_s = self.ended_s or time.monotonic()

    # --- reading ---

    async def _read(self, response: aiohttp.ClientResponse, stream: bool, watch: Watch, gap_s: float) -> None:
        if not 200 <= response.status < 300:
            raise await _complaint(response)
        if response.content_type == STREAM or (stream and response.content_type not in NO_STREAM):
            await self._read_stream(response.content, watch, gap_s)
            return
        body = await _whole(response.content)
        self.ended_s = time.monotonic()
        self.answer.take(body)
        if stream:
            raise Refused(BAD_RESPONSE, f"asked for a stream, got one {response.content_type}")
        if not self.answer.has_choice:
            raise Refused(BAD_RESPONSE, "an answer without choices")
        self.answer.check_end()
        self.complete = True

    async def _read_stream(self, content: aiohttp.StreamReader, watch: Watch, gap_s: float) -> None:
        events, size = Events(), 0
        while chunk := await content.readany():
            now = time.monotonic()
            if self.complete:  # it was all there; this is for the connection to be used again
                continue
            size += len(chunk)
            if size > LARGEST_BYTES:
                raise _too_large()
            alive = False  # a comment is no sign of progress
            for data in events.feed(chunk):
                if self._take(data, now, watch):
                    break
                alive = True
            if alive and self.stamps_s and not self.complete:
                watch.allow("between two tokens", gap_s, now)
        if not self.complete:
            self._end_of_stream(events.close())

    def _take(self, data: bytes, now: float, watch: Watch) -> bool:
        """Take in an event that came at `now`; whether it was the last."""
        if data.strip() == DONE:  # some servers leave a space or a CR behind it
            self._finish(now)
            watch.allow("after the end", DRAIN_S, now)
            return True
        if data.strip() and self.answer.take(data):  # some servers keep a connection alive with empty events
            self.stamps_s.append(now)
        return False

    def _end_of_stream(self, rest: list[bytes]) -> None:
        """No `[DONE]`: whole all the same where a reason for the end came, or where its blank line alone is missing."""
        now = time.monotonic()
        if rest and rest[0].strip() == DONE:
            self._finish(now)
            return
        try:
            if rest and self.answer.take(rest[0]):
                self.stamps_s.append(now)
        except Refused:
            raise _cut_short(self) from None
        if self.answer.finish_reason is None:
            raise _cut_short(self)
        self._finish(now)

    def _finish(self, now: float) -> None:
        self.ended_s = now
        if not self.answer.has_choice:
            raise Refused(BAD_RESPONSE, "a stream without choices")
        self.answer.check_end()
        self.complete = True

    # --- judging ---

    def _judge_cancel(self, watch: Watch) -> None:
        """Cancelled by our own watch (a time-out) or from outside (Ctrl-C)."""
        task = asyncio.current_task()
        if watch.expired is None or task is None or task.uncancel():
            self.refused = Refused(CANCELLED, "interrupted")
            raise asyncio.CancelledError
        if not self.complete:
            spent_s = time.monotonic() - self.sent_s
            self.refused = Refused(TIMEOUT, f"timed out {watch.expired}, after {spent_s:.3g} s", again=True)

    def _judge(self, error: Exception) -> None:
        if self.complete:  # everything was here; how the connection ended does not matter
            return
        text = str(error) or type(error).__name__
        tls = isinstance(error, (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch))
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            self.refused = Refused(TIMEOUT, "timed out while connecting", again=True)
        elif tls:
            self.refused = Refused(CONNECT, f"TLS: {text}")
        elif isinstance(error, aiohttp.InvalidURL):
            self.refused = Refused(CLIENT, f"not an address: {text}")
        elif isinstance(error, aiohttp.ClientConnectorError):
            self.refused = Refused(CONNECT, text, again=True)
        elif isinstance(error, (aiohttp.ClientResponseError, ValueError)):
            self.refused = Refused(BAD_RESPONSE, f"no HTTP that can be read: {text}")
        elif isinstance(error.__cause__, ContentEncodingError):
            self.refused = Refused(BAD_RESPONSE, "the body is not in the Content-Encoding that it claims")
        else:
            self.refused = Refused(CONNECT, f"the connection broke {self._progress()}: {text}", again=True)

    def _progress(self) -> str:
        if self.status_code is None:
            return "before an answer"
        return f"after {len(self.stamps_s)} chunks" if self.stamps_s else "before the first token"


def _cut_short(attempt: Attempt) -> Refused:
    return Refused(BAD_RESPONSE, f"the stream ended early, {attempt._progress()}", again=True)


def _too_large() -> Refused:
    return Refused(BAD_RESPONSE, f"an answer of more than {LARGEST_BYTES >> 20} MiB")


async def _whole(content: aiohttp.StreamReader) -> bytes:
    body = await _beginning(content, LARGEST_BYTES + 1)
    if len(body) > LARGEST_BYTES:
        raise _too_large()
    return body


async def _beginning(content: aiohttp.StreamReader, enough_bytes: int) -> bytes:
    """A body as far as it goes, or until there is enough of it."""
    pieces, size = [], 0
    while size < enough_bytes and (piece := await content.readany()):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


async def _complaint(response: aiohttp.ClientResponse) -> Refused:
    """Why the server says no."""
    if 300 <= response.status < 400:
        where = response.headers.get("Location", "nowhere")
        return Refused(CLIENT, f"{response.status}: redirected to {where}; give the final address with --base-url")
    body = await _beginning(response.content, LARGEST_COMPLAINT_BYTES)
    return refusal(response.status, body, response.headers.get("Retry-After"), time.time())
