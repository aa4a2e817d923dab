"""One attempt at one request: sent, timed as its pieces arrive, and judged.

Times are nanoseconds of CLOCK_MONOTONIC. The task that sends sleeps until the response has ended: its pieces are taken
in as the event loop reads them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from probes.client.answer import BAD_RESPONSE, CANCELLED, TIMEOUT, Answer, Refused
from probes.client.client import Client
from probes.client.connection import LARGEST_BYTES
from probes.client.faults import broken, complaint, unconnected
from probes.client.sse import Events
from probes.client.template import Template, learn
from probes.client.watch import Limits, Watch

LARGEST_COMPLAINT_BYTES = 64 * 2**10
DRAIN_S = 1.0  # how long a finished stream may keep its connection open before we close it
DONE = b"[DONE]"
STREAM = "text/event-stream"  # some servers send one where none was asked for
MOST_TEMPLATES = 16  # a server whose chunks are never alike is not watched for ever
NO_STREAM = ("application/json", "text/html")


class Attempt:
    """What one attempt brings; filled as it goes, so that an interrupted one still says how far it came.

    `receive` is called with each output of a stream: when it came, and how many tokens it held where the server says.
    """

    def __init__(self, receive: Callable[[int, int | None], None] | None = None) -> None:
        self.sent_ns = self.ended_ns = 0
        self.status_code: int | None = None
        self.answer = Answer()
        self.stamps_ns: list[int] = []  # when each event that carried output came
        self.refused: Refused | None = None
        self.complete = False  # the whole answer is here
        self._is_open = True  # more of the body is wanted
        self._receive = receive
        self._headers: dict[bytes, bytes] = {}
        self._events: Events | None = None  # of a stream
        self._template: Template | None = None
        self._templates_left = MOST_TEMPLATES
        self._pieces: list[bytes] = []  # of what is none
        self._size = 0

    async def run(self, client: Client, body: bytes, stream: bool, limits: Limits) -> None:
        """Send `body` and read the answer to its end; what goes wrong is in `refused`."""
        self.sent_ns = time.monotonic_ns()
        self._stream, self._limits, self._over = stream, limits, asyncio.get_running_loop().create_future()
        try:
            await self._exchange(client, client.request(body))
        except asyncio.CancelledError:
            self.refused = Refused(CANCELLED, "interrupted")
            raise
        except Refused as refused:
            self.refused = refused
        finally:
            self.ended_ns = self.ended_ns or time.monotonic_ns()

    async def _exchange(self, client: Client, request: bytes) -> None:
        limits = self._limits
        first_s = limits.first_token_s if self._stream else limits.total_s
        connection = client.idle()
        if connection is None:
            try:
                async with asyncio.timeout(min(limits.connect_s, first_s, limits.total_s)):
                    connection = await client.connect()
            except (OSError, ValueError) as error:
                raise unconnected(error) from None
        self._watch = Watch(self.sent_ns, limits.total_s, self._expire)
        try:
            self._watch.allow("until the first token", first_s, self.sent_ns)
            connection.send(request, self)
            await self._over
            self._watch.stop()
            if self.complete and connection.is_busy:
                await self._drain()
        finally:
            self._watch.stop()
            client.release(connection)

    async def _drain(self) -> None:
        """Wait a moment for the end of a response that is whole: its connection can then be used again."""
        self._over = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._over

    # --- the response ---

    def begin(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head of the response."""
        self.status_code, self._headers = status, headers
        if not self._is_refusal and (self._kind == STREAM or (self._stream and self._kind not in NO_STREAM)):
            self._events = Events()

    def take(self, piece: bytes, now_ns: int) -> None:
        """A piece of the response's body."""
        if not self._is_open:  # it was all there; this is for the connection to be used again
            return
        self._size += len(piece)
        if self._template is not None and (text := self._template.text(piece)) and self._size <= LARGEST_BYTES:
            self.answer.texts.append(text)
            self.stamps_ns.append(now_ns)
            self._watch.since_ns = now_ns
            if self._receive is not None:
                self._receive(now_ns, None)
            return
        try:
            self._take(piece, now_ns)
        except Refused as refused:
            self._refuse(refused)

    def end(self, error: Exception | None) -> None:
        """The end of the response, or of the connection."""
        if self._over.done():
            return
        try:
            if not self.complete:  # else everything was here; how the connection ended does not matter
                self._judge(error)
        except Refused as refused:
            self.refused = refused
        self._over.set_result(None)

    def _take(self, piece: bytes, now_ns: int) -> None:
        if self._size > LARGEST_BYTES:
            raise _too_large()
        if self._events is not None:
            self._take_events(piece, self._events, now_ns)
            return
        self._pieces.append(piece)
        if self._size >= LARGEST_COMPLAINT_BYTES and self._is_refusal:
            raise self._complaint()

    def _take_events(self, chunk: bytes, events: Events, now_ns: int) -> None:
        is_whole, outputs = events.is_between, len(self.stamps_ns)
        messages = events.feed(chunk)
        for data in messages:
            if not data.startswith(b"{"):  # most events are objects
                word = data.strip()
                if word == DONE:  # some servers leave a space or a CR behind it
                    self._finish(now_ns)
                    self._over.set_result(None)
                    return
                if not word:  # some servers keep a connection alive with empty events
                    continue
            if self.answer.take(data):
                self._output(now_ns)
        if messages and self.stamps_ns:  # a comment is no sign of progress
            self._watch.since_ns = now_ns
        is_one = is_whole and len(messages) == 1 and len(self.stamps_ns) > outputs
        self._template = self._kept_template(chunk, is_one) if events.is_between else None

    def _kept_template(self, chunk: bytes, is_one: bool) -> Template | None:
        """The template for the next chunk; another where `chunk`, one event with output, begins in another way."""
        template = self._template
        if not is_one or len(self.answer.texts) < 2 or (template and chunk.startswith(template.head)):
            return template
        if not self._templates_left:
            return None
        self._templates_left -= 1
        return learn(chunk, self.answer.texts[-1])

    def _output(self, now_ns: int) -> None:
        self.stamps_ns.append(now_ns)
        if len(self.stamps_ns) == 1:
            self._watch.allow("between two tokens", self._limits.gap_s, now_ns)
        if self._receive is not None:
            self._receive(now_ns, self.answer.tokens)

    # --- judging ---

    def _judge(self, error: Exception | None) -> None:
        now_ns = time.monotonic_ns()
        if error is not None:
            raise broken(error, self._progress())
        if self._is_refusal:
            raise self._complaint()
        if self._events is not None:
            self._end_of_stream(self._events.close(), now_ns)
            return
        self.ended_ns = now_ns
        self.answer.take(b"".join(self._pieces))
        if self._stream:
            raise Refused(BAD_RESPONSE, f"asked for a stream, got one {self._kind}")
        if not self.answer.has_choice:
            raise Refused(BAD_RESPONSE, "an answer without choices")
        self.answer.check_end()
        self.complete = True

    def _end_of_stream(self, rest: list[bytes], now_ns: int) -> None:
        """No `[DONE]`: whole all the same where a reason for the end came, or where its blank line alone is missing."""
        if rest and rest[0].strip() == DONE:
            self._finish(now_ns)
            return
        try:
            if rest and self.answer.take(rest[0]):
                self._output(now_ns)
        except Refused:
            raise self._cut_short() from None
        if self.answer.finish_reason is None:
            raise self._cut_short()
        self._finish(now_ns)

    def _finish(self, now_ns: int) -> None:
        self.ended_ns = now_ns
        if not self.answer.has_choice:
            raise Refused(BAD_RESPONSE, "a stream without choices")
        self.answer.check_end()
        self.complete, self._is_open = True, False

    def _expire(self, what: str) -> None:
        spent_s = (time.monotonic_ns() - self.sent_ns) / 1e9
        self._refuse(Refused(TIMEOUT, f"timed out {what}, after {spent_s:.3g} s", again=True))

    def _refuse(self, refused: Refused) -> None:
        """End without waiting for the rest; an answer that is complete stays so."""
        if not self._over.done():
            self.refused, self._is_open = None if self.complete else refused, False
            self._over.set_result(None)

    @property
    def _is_refusal(self) -> bool:
        return self.status_code is None or not 200 <= self.status_code < 300

    @property
    def _kind(self) -> str:
        """The response's content type without its parameters."""
        return self._headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")

    def _progress(self) -> str:
        if self.status_code is None:
            return "before an answer"
        return f"after {len(self.stamps_ns)} chunks" if self.stamps_ns else "before the first token"

    def _complaint(self) -> Refused:
        return complaint(self.status_code or 0, self._headers, b"".join(self._pieces))

    def _cut_short(self) -> Refused:
        return Refused(BAD_RESPONSE, f"the stream ended early, {self._progress()}", again=True)


def _too_large() -> Refused:
    return Refused(BAD_RESPONSE, f"an answer of more than {LARGEST_BYTES >> 20} MiB")
