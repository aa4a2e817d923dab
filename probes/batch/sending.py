"""How the prompts of a batch go out: so many at a time, or at so many a second; and again where that may help.

In an open loop a prompt has its time of sending before anything is sent, and its latency counts from there: a client
or a server that falls behind cannot hide it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

from probes.batch.record import Record
from probes.batch.request import request
from probes.client.answer import CANCELLED, Refused
from probes.client.attempt import Attempt
from probes.client.client import Client
from probes.client.watch import Limits
from probes.jsonform import encoded
from probes.prompts.files import Prompt

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
LONGEST_RETRY_AFTER_S = 300.0  # a server that asks for more is not waited for
POISSON = "poisson"
CONSTANT = "constant"
SEED = 0


@dataclass(frozen=True)
class Settings:
    """What a batch does. `rate` is prompts a second; `concurrency` None is without bound (the driver sets one)."""

    url: str
    model: str
    mode: str
    stream: bool
    max_tokens: int | None
    concurrency: int | None
    rate: float | None
    arrivals: str
    retries: int
    limits: Limits
    trust_env: bool
    temperature: float | None = None
    top_p: float | None = None

    def body(self, prompt: Prompt) -> bytes:
        """The request of a prompt; its own parameters go before the batch's."""
        sampling = {"max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p}
        shared: dict[str, object] = {"model": self.model} | {k: v for k, v in sampling.items() if v is not None}
        if self.stream:
            shared |= {"stream": True, "stream_options": {"include_usage": True}}
        return encoded({**shared, **request(prompt.content, self.mode)})


class Epoch:
    """Monotonic times as seconds since the epoch, by one anchor: a clock that is set cannot bend a batch."""

    def __init__(self) -> None:
        self._anchor_s = time.time() - time.monotonic()
        self.began_s = self.epoch_s(time.monotonic())

    def epoch_s(self, monotonic_s: float) -> float:
        """To the microsecond."""
        return round(monotonic_s + self._anchor_s, 6)


def authorization(key: str | None) -> dict[str, str]:
    """The header that carries the key, if there is one."""
    return {"Authorization": f"Bearer {key}"} if key else {}


async def run(settings: Settings, key: str | None, prompts: Iterable[Prompt], settle: Callable[[Record], None]) -> None:
    """Send all `prompts`; each one's record goes to `settle`, whose errors end the batch."""
    with closing(Client(settings.url, authorization(key), settings.trust_env)) as client:
        sender = Sender(settings, client, settle)
        source = iter(prompts)
        work = sender.open_loop(source) if settings.rate else sender.closed_loop(source)
        await work


class Sender:
    """Sends prompts by one client."""

    def __init__(self, settings: Settings, client: Client, settle: Callable[[Record], None]) -> None:
        self._settings, self._client, self._settle = settings, client, settle
        self._epoch, self._random = Epoch(), random.Random()

    async def closed_loop(self, prompts: Iterator[Prompt]) -> None:
        """`concurrency` prompts at a time, the next as soon as one is settled."""

        async def worker() -> None:
            for prompt in prompts:
                await self.send(prompt, time.monotonic())

        await _all(asyncio.create_task(worker()) for _ in range(self._settings.concurrency or 1))

    async def open_loop(self, prompts: Iterator[Prompt]) -> None:
        """`rate` prompts a second whatever becomes of them; where `concurrency` bounds them, late but not forgotten."""
        free = asyncio.Semaphore(self._settings.concurrency or 2**31)
        failed = asyncio.get_running_loop().create_future()
        running: set[asyncio.Task[None]] = set()

        def end(task: asyncio.Task[None]) -> None:
            free.release()
            running.discard(task)
            if not task.cancelled() and (error := task.exception()) and not failed.done():
                failed.set_exception(error)

        dispatch = asyncio.create_task(self._dispatch(prompts, free, running, end))
        try:
            await asyncio.wait((dispatch, failed), return_when=asyncio.FIRST_COMPLETED)
            if dispatch.done():
                dispatch.result()
            last = asyncio.gather(*running, return_exceptions=True)
            await asyncio.wait((failed, last), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _stop((dispatch, *running))
            if failed.done():
                failed.result()

    async def _dispatch(
        self,
        prompts: Iterator[Prompt],
        free: asyncio.Semaphore,
        running: set[asyncio.Task[None]],
        end: Callable[[asyncio.Task[None]], None],
    ) -> None:
        for prompt, due_s in zip(prompts, arrivals(self._settings, time.monotonic()), strict=False):
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))  # 0 too lets others run: answers, and Ctrl-C
            await free.acquire()
            task = asyncio.create_task(self.send(prompt, due_s))
            running.add(task)
            task.add_done_callback(end)

    async def send(self, prompt: Prompt, scheduled_s: float) -> None:
        """One prompt, as often as it takes and may take; exactly one record, also where it is interrupted."""
        body, settings, attempts = self._settings.body(prompt), self._settings, 0
        while True:
            attempt = Attempt()
            attempts += 1
            try:
                await attempt.run(self._client, body, settings.stream, settings.limits)
                wait_s = self._wait_s(attempts, attempt.refused)
                if wait_s is None:
                    break
                await asyncio.sleep(wait_s)
            except asyncio.CancelledError:
                attempt.refused = Refused(CANCELLED, "interrupted")
                self._settle(self._record(prompt, scheduled_s, attempt, attempts))
                raise
        self._settle(self._record(prompt, scheduled_s, attempt, attempts))

    def _wait_s(self, attempts: int, refused: Refused | None) -> float | None:
        """How long to wait before the next attempt; None where there is none.

        Twice as long each time, and by chance up to half of it less, so that clients do not come back together.
        """
        if refused is None or not refused.again or attempts > self._settings.retries:
            return None
        backoff_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (attempts - 1)) * self._random.uniform(0.5, 1)
        if refused.after_s is None:
            return backoff_s
        return max(backoff_s, refused.after_s) if refused.after_s <= LONGEST_RETRY_AFTER_S else None

    def _record(self, prompt: Prompt, scheduled_s: float, attempt: Attempt, attempts: int) -> Record:
        refused, answer, stamps_ns = attempt.refused, attempt.answer, attempt.stamps_ns
        ended_s, epoch_s = attempt.ended_ns / 1e9, self._epoch.epoch_s
        return Record(
            id=prompt.id,
            line=prompt.line,
            line_crc32=prompt.crc32,
            mode=self._settings.mode,
            model=self._settings.model,
            stream=self._settings.stream,
            began_s=self._epoch.began_s,  # the same in all records of one start of the batch
            ok=refused is None,
            scheduled_s=epoch_s(scheduled_s),
            sent_s=epoch_s(attempt.sent_ns / 1e9),
            ended_s=epoch_s(ended_s),
            latency_s=round(ended_s - scheduled_s, 6),
            ttft_s=round(stamps_ns[0] / 1e9 - scheduled_s, 6) if stamps_ns else None,
            itl=[(later - earlier + 500) // 1000 / 1e6 for earlier, later in pairwise(stamps_ns)],  # whole µs
            status_code=attempt.status_code,
            error_type=refused.kind if refused else None,
            error_msg=str(refused) if refused else None,
            attempts=attempts,
            stream_chunks=len(stamps_ns),
            prompt_tokens=answer.prompt_tokens,
            cached_tokens=answer.cached_tokens,
            completion_tokens=answer.completion_tokens,
            finish_reason=answer.finish_reason,
            text="".join(answer.texts),
            reasoning="".join(answer.reasoning),
            tool_calls=answer.calls.calls(),
        )


def arrivals(settings: Settings, start_s: float) -> Iterator[float]:
    """The scheduled times of an open loop: evenly spaced, or a Poisson process of that rate from a fixed seed."""
    chance, due_s, rate = random.Random(SEED), start_s, settings.rate or 1.0
    while True:
        yield due_s
        due_s += 1 / rate if settings.arrivals == CONSTANT else chance.expovariate(rate)


async def _all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait for all; the first error ends the others."""
    waiting = list(tasks)
    try:
        await asyncio.gather(*waiting)
    finally:
        await _stop(waiting)


async def _stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
