"""One rate inside a variant's process: takes requests from the sender as they come, and writes what became of each."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offline.load.planning.schedule import Schedule
from offline.load.records import FINISHED, MeasuredRate, ServedRequest
from offline.variants.serving import Ending, ScheduledRequest, Serving
from probes.errors import EnginescopeError
from probes.processes.runqueue import queued_ns

SENDER_LIMIT_S = 30.0  # how long the sender may take to come
NS = 1_000_000_000


async def sender_connection(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The sender's connection to a socket at `path`, which is gone again once it has come."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.setblocking(False)
        listening.bind(str(path))
        listening.listen(1)
        try:
            accepting = asyncio.get_running_loop().sock_accept(listening)
            link, _ = await asyncio.wait_for(accepting, SENDER_LIMIT_S)
        except TimeoutError:
            raise EnginescopeError(f"the sender did not come within {SENDER_LIMIT_S:.0f} s") from None
        finally:
            path.unlink()
    return await asyncio.open_connection(sock=link)


@dataclass(frozen=True)
class RateName:
    """Which rate of which start."""

    variant: str
    start: int
    rate_req_s: float | None


@dataclass
class Reception:
    """A request that has come, and its outputs so far."""

    request: ScheduledRequest
    scheduled_ns: int
    sent_ns: int
    token_ns: list[int]
    tokens: list[int]

    def receive(self, now_ns: int, tokens: int) -> None:
        """Note an output."""
        self.token_ns.append(now_ns)
        self.tokens.append(tokens)

    def record(self, name: RateName, ending: Ending) -> ServedRequest:
        """The raw line of a request that has ended so."""
        return ServedRequest(
            variant=name.variant,
            start=name.start,
            rate_req_s=name.rate_req_s,
            request=self.request.id,
            scheduled_ns=self.scheduled_ns,
            sent_ns=ending.sent_ns or self.sent_ns,
            queued_ns=ending.queued_ns,
            token_ns=tuple(self.token_ns),
            tokens=tuple(self.tokens),
            prompt_tokens=len(self.request.prompt_token_ids),
            cached_tokens=ending.cached_tokens,
            finish=ending.finish,
            error=ending.error,
            preemptions=ending.preemptions,
            started_ns=ending.started_ns,
            prefilled_ns=ending.prefilled_ns,
        )


class RateWork:
    """Serves one schedule to its end.

    The sender names a request, its time and when it sent it, a line each (`17 1200000000 1200000123`); when the
    schedule's time is over it says `end`, with the beginning and the end of that time. What then still runs has
    `drain_s` left; what is not done by then is given up and counts as unfinished.
    """

    def __init__(
        self, serving: Serving, schedule: Schedule, name: RateName, write: Callable[[ServedRequest], None]
    ) -> None:
        self.serving, self.name, self.write = serving, name, write
        self.requests = {request.id: request for request in schedule.requests}
        self.closed_level = schedule.head.rate_req_s is None
        self.finishes: list[str] = []
        self.running: set[asyncio.Task[None]] = set()
        self.window_ns = (0, 0)
        self.queued_before_ns = 0
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, path: Path, drain_s: float, reset: bool) -> MeasuredRate:
        """Listen at `path`, serve what comes, and wait for the rest."""
        reader, writer = await sender_connection(path)
        self.queued_before_ns = queued_ns()
        taking = asyncio.create_task(self._take(reader, writer))
        try:
            await asyncio.wait((taking, self.died), return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.close()
            taking.cancel()
        await self._drain(drain_s)
        if self.died.done():
            self.died.result()
        taking.result()
        return self._measured(reset)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.startswith(b"end "):
                begin, end = line.split()[1:]
                self.window_ns = (int(begin), int(end))
                return
            number, scheduled, sent = map(int, line.split())
            reception = Reception(self.requests[number], scheduled, sent, [], [])
            task = asyncio.create_task(self._serve(reception))
            self.running.add(task)
            task.add_done_callback(self.running.discard)
            if self.closed_level:
                await asyncio.wait((task,))
                writer.write(b"\n")
        raise EnginescopeError("the sender ended before its schedule did")

    async def _serve(self, reception: Reception) -> None:
        try:
            ending = await self.serving.submit(reception.request, reception.receive)
        except asyncio.CancelledError:
            ending = Ending("unfinished")
        except Exception as error:  # not a refused request: the variant is gone
            ending = Ending("failed", error=f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])
            self._die(error)
        self.finishes.append(ending.finish)
        try:
            self.write(reception.record(self.name, ending))
        except OSError as error:
            self._die(error)

    def _die(self, error: Exception) -> None:
        if not self.died.done():
            self.died.set_exception(error)

    async def _drain(self, drain_s: float) -> None:
        if self.running and not self.died.done():
            await asyncio.wait(self.running, timeout=drain_s)
        rest = list(self.running)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest)

    def _measured(self, reset: bool) -> MeasuredRate:
        count = self.finishes.count
        return MeasuredRate(
            variant=self.name.variant,
            start=self.name.start,
            rate_req_s=self.name.rate_req_s,
            begin_ns=self.window_ns[0],
            end_ns=self.window_ns[1],
            closed_ns=time.monotonic_ns(),
            scheduled=len(self.requests),
            sent=len(self.finishes),
            finished=sum(map(count, FINISHED)),
            unfinished=count("unfinished"),
            failed=count("failed") + count("aborted"),
            prefix_reset=reset,
            starved_ns=queued_ns() - self.queued_before_ns,
        )
