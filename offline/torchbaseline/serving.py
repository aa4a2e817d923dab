"""Static batching behind the interface of a variant: requests wait, run in batches, and stream their tokens' times."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from offline.load.records import StepLine
from offline.records.resolved import Resolved
from offline.torchbaseline.batch import BatchLimits, BatchWork, StaticBatch, batch_bytes, first_batch
from offline.torchbaseline.memory import BatchMemory
from offline.torchbaseline.queue import WaitingRequests
from offline.variants.serving import Ending, Receive, ScheduledRequest

SAMPLING = ("temperature", "top_k", "top_p", "seed")


class BatchModel(Protocol):
    """A model that runs one static batch at a time."""

    resolved: Resolved
    vocabulary: int
    memory: BatchMemory

    def generate(self, batch: StaticBatch, on_step: Callable[[Sequence[int]], None]) -> None:
        """Run a batch; `on_step` gets the token ids of all rows at each step of the longest output."""


RESET_S = 60.0  # how long a step may take, after which a batch that was given up ends


class Closing(Exception):
    """The serving was closed while a batch ran."""


class GivenUp(Exception):
    """Nobody waits any more for what a batch still computes."""


@dataclass(eq=False)
class Submission:
    """A request on its way, and where its tokens and its ending go."""

    request: ScheduledRequest
    receive: Receive
    ending: asyncio.Future[Ending]
    queued_ns: int
    started_ns: int | None = None

    def ended(self, finish: str, error: str | None = None) -> Ending:
        """Its ending; it never finds a prefix in a cache."""
        return Ending(finish, 0, error, self.queued_ns, started_ns=self.started_ns)

    def lives(self, step: int) -> bool:
        """Whether somebody still waits for the token of a step."""
        return self.request.output_tokens >= step and not self.ending.cancelled()

    def deliver(self, now_ns: int, ending: Ending | None) -> None:
        """Runs in the event loop; nothing where its sender has gone."""
        if self.ending.done():
            return
        if ending is None or ending.finish == "length":
            self.receive(now_ns, 1)
        if ending is not None:
            self.ending.set_result(ending)


class TorchServing:
    """Requests of fixed lengths in static batches on a thread of its own.

    A batch runs until its longest output is complete, or until all that are not have been given up; each request ends
    with its own last token. `work` counts real tokens and padding of the batches that are complete.
    """

    def __init__(self, model: BatchModel, limits: BatchLimits) -> None:
        self.model, self.limits = model, limits
        self.resolved, self.vocabulary = model.resolved, model.vocabulary
        self.work = BatchWork()
        self._steps: list[StepLine] = []
        self._waiting: WaitingRequests[Submission] = WaitingRequests(limits.most_rows, limits.wait_s)
        self._closing = False
        self._wanted = 0  # requests that somebody waits for
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="torch-baseline", daemon=True)
        self._thread.start()

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        """Serve one request; refused, with the reason, where no batch could hold it or its sampling is unknown."""
        queued_ns = time.monotonic_ns()
        if reason := self._refusal(request):
            return Ending("failed", error=reason, queued_ns=queued_ns)
        submission = Submission(request, receive, asyncio.get_running_loop().create_future(), queued_ns)
        try:
            self._waiting.add(submission)
        except RuntimeError as error:
            return Ending("aborted", error=str(error), queued_ns=queued_ns)
        self._wanted += 1
        try:
            return await submission.ending
        finally:
            self._wanted -= 1
            self._waiting.discard(submission)

    async def reset(self) -> bool:
        """Wait for the end of a batch that was given up, beside which nothing would be measured rightly.

        False where requests still run; no prefix outlives its batch.
        """
        return not self._wanted and await asyncio.to_thread(self._idle.wait, RESET_S)

    def steps(self) -> tuple[list[StepLine], int]:
        """The steps of the batches since the last call, none lost; `tokens` are real ones, without padding."""
        steps, self._steps = self._steps, []
        return steps, 0

    def close(self) -> None:
        """End what runs after its step, and what waits at once."""
        self._closing = True
        for submission in self._waiting.close():
            self._end(submission, "aborted", "the serving was closed")
        self._thread.join()

    def _refusal(self, request: ScheduledRequest) -> str | None:
        if unknown := sorted(request.sampling.keys() - set(SAMPLING)):
            return f"the torch baseline does not sample by {', '.join(unknown)}; it knows {', '.join(SAMPLING)}"
        need, most = batch_bytes(StaticBatch((request,)), self.model.memory), self.limits.most_bytes
        if need <= most:
            return None
        return f"request {request.id} alone needs {need / 2**20:.0f} MiB, and batches may need {most / 2**20:.0f} MiB"

    def _run(self) -> None:
        while batch := self._waiting.take(self._size):
            self._idle.clear()
            self._run_batch(batch)
            self._idle.set()

    def _size(self, waiting: Sequence[Submission]) -> int:
        requests = [each.request for each in waiting[: self.limits.most_rows]]
        return len(first_batch(requests, self.model.memory, self.limits).requests)

    def _run_batch(self, submissions: list[Submission]) -> None:
        batch = StaticBatch(tuple(each.request for each in submissions))
        ends_ns = [time.monotonic_ns()]
        for each in submissions:
            each.started_ns = ends_ns[0]

        def on_step(_: Sequence[int]) -> None:
            ends_ns.append(time.monotonic_ns())
            if len(ends_ns) == batch.output_len + 1:
                self.work += batch.work  # before the last endings, so that who waits for them finds it counted
            step = len(ends_ns) - 1
            alive = [each for each in submissions if each.lives(step)]
            self._steps.append(self._step_line(batch, step, len(alive), *ends_ns[-2:]))
            self._deliver(alive, step, ends_ns[-1])
            if self._closing:
                raise Closing
            if step < batch.output_len and not any(each.lives(step + 1) for each in submissions):
                raise GivenUp

        try:
            self.model.generate(batch, on_step)
        except GivenUp:
            pass  # those that were not given up have ended
        except Closing:
            for each in submissions:
                self._end(each, "aborted", "the serving was closed")
        except Exception as error:  # whatever the model raises is the end of these requests, not of the thread
            for each in submissions:
                self._end(each, "failed", f"{type(error).__name__}: {error}")

    def _step_line(self, batch: StaticBatch, step: int, running: int, start_ns: int, end_ns: int) -> StepLine:
        """A step; there is no KV cache of a fixed size of which a share could be in use."""
        tokens = running if step > 1 else batch.work.prompt_tokens
        return StepLine(start_ns, end_ns, running, len(self._waiting.entries), None, tokens)

    def _deliver(self, alive: Sequence[Submission], step: int, now_ns: int) -> None:
        """One crossing into the event loop a step, whatever the batch."""
        endings = [each.ended("length") if each.request.output_tokens == step else None for each in alive]

        def deliver() -> None:
            for each, ending in zip(alive, endings, strict=True):
                each.deliver(now_ns, ending)

        _in_loop(alive, deliver)

    def _end(self, submission: Submission, finish: str, error: str) -> None:
        ending = submission.ended(finish, error)
        _in_loop([submission], lambda: submission.deliver(time.monotonic_ns(), ending))


def _in_loop(submissions: Sequence[Submission], call: Callable[[], None]) -> None:
    if submissions:
        loop = submissions[0].ending.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)
