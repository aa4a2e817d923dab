"""The baseline's serving on a model that computes nothing: who runs with whom, whose tokens come when, how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from offline.records.resolved import UNKNOWN
from offline.torchbaseline.batch import BatchLimits, BatchWork, StaticBatch
from offline.torchbaseline.memory import BatchMemory
from offline.torchbaseline.queue import WaitingRequests
from offline.torchbaseline.serving import TorchServing
from offline.variants.serving import Ending, ScheduledRequest

LARGE = BatchLimits(most_rows=2, most_bytes=10_000, wait_s=60.0)
LIMITS = BatchLimits(most_rows=2, most_bytes=1000, wait_s=60.0)  # a batch of one waits until the test closes it


class InstantModel:
    """Runs a batch at once, as soon as it may go on; a prompt of token 13 makes it fail."""

    resolved = UNKNOWN
    vocabulary = 100
    memory = BatchMemory(kv_bytes=1, prefill_bytes=0, logits_bytes=0)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.steps = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def generate(self, batch: StaticBatch, on_step: Callable[[Sequence[int]], None]) -> None:
        self.batches.append([request.id for request in batch.requests])
        if any(13 in request.prompt_token_ids for request in batch.requests):
            raise RuntimeError("can't allocate memory")
        for _ in range(batch.output_len):
            self.steps += 1
            on_step([7] * len(batch.requests))
            self.may_go_on.wait()


@contextmanager
def serving(model: InstantModel, limits: BatchLimits = LIMITS) -> Iterator[TorchServing]:
    served = TorchServing(model, limits)
    try:
        yield served
    finally:
        model.may_go_on.set()
        served.close()


def a_request(number: int, output: int, prompt: tuple[int, ...] = (1, 2, 3), **sampling: float) -> ScheduledRequest:
    return ScheduledRequest(number, 0.0, prompt, output, sampling)


async def submit_all(served: TorchServing, *requests: ScheduledRequest) -> tuple[list[Ending], dict[int, list[int]]]:
    """The endings, and the times that each request's tokens came at."""
    times: dict[int, list[int]] = {request.id: [] for request in requests}
    sent = [served.submit(r, lambda now, count, own=times[r.id]: own.extend([now] * count)) for r in requests]
    return list(await asyncio.gather(*sent)), times


def test_two_and_two_run_together_and_each_ends_with_its_own_last_token() -> None:
    model = InstantModel()
    with serving(model) as served:
        endings, times = asyncio.run(
            submit_all(served, *(a_request(i, output) for i, output in enumerate([1, 4, 2, 2])))
        )
        steps, _ = served.steps()
    assert model.batches == [[0, 1], [2, 3]]
    assert [ending.finish for ending in endings] == ["length"] * 4
    assert {number: len(each) for number, each in times.items()} == {0: 1, 1: 4, 2: 2, 3: 2}
    assert times[0] == times[1][:1]  # one step, one time
    assert served.work == BatchWork(2, 12, 9, 0, 3)
    assert [(step.running, step.tokens) for step in steps] == [(2, 6), (1, 1), (1, 1), (1, 1), (2, 6), (2, 2)]
    assert {step.kv_use for step in steps} == {None}  # there is no cache of a fixed size


def test_a_request_that_no_batch_can_hold_is_refused_by_name() -> None:
    with serving(InstantModel()) as served:
        endings, _ = asyncio.run(submit_all(served, a_request(5, 2000), a_request(6, 2, min_p=0.1)))
    assert endings[0].finish == "failed"
    assert (endings[0].error or "").startswith("request 5 alone needs 0 MiB, and batches may need 0 MiB")
    assert endings[1].error == "the torch baseline does not sample by min_p; it knows temperature, top_k, top_p, seed"


def test_a_batch_that_fails_ends_its_requests_and_the_next_one_runs() -> None:
    with serving(InstantModel()) as served:
        broken, whole = a_request(1, 1, prompt=(13,)), a_request(2, 1)
        endings, _ = asyncio.run(submit_all(served, broken, a_request(3, 1), whole, a_request(4, 1)))
    assert [ending.finish for ending in endings] == ["failed", "failed", "length", "length"]
    assert endings[0].error == "RuntimeError: can't allocate memory"


def test_closing_ends_what_runs_and_what_waits() -> None:
    model = InstantModel()
    model.may_go_on.clear()

    async def close_in_the_middle(served: TorchServing) -> list[Ending]:
        first = asyncio.Event()
        running = [asyncio.create_task(served.submit(a_request(i, 9), lambda *_: first.set())) for i in (1, 2)]
        await first.wait()
        waiting = asyncio.create_task(served.submit(a_request(3, 9), lambda *_: None))
        await asyncio.sleep(0)
        model.may_go_on.set()
        await asyncio.to_thread(served.close)
        return list(await asyncio.gather(*running, waiting))

    with serving(model) as served:
        endings = asyncio.run(close_in_the_middle(served))
        late = asyncio.run(served.submit(a_request(4, 1), lambda *_: None))
    assert endings[2].finish == "aborted" and late.finish == "aborted"
    assert {ending.error for ending in endings if ending.finish == "aborted"} == {"the serving was closed"}


def test_a_request_that_is_given_up_leaves_the_queue() -> None:
    async def give_up(served: TorchServing) -> list[Ending]:
        lonely = asyncio.create_task(served.submit(a_request(1, 1), lambda *_: None))
        await asyncio.sleep(0)
        lonely.cancel()
        await asyncio.gather(lonely, return_exceptions=True)
        return (await submit_all(served, a_request(2, 1), a_request(3, 1)))[0]

    model = InstantModel()
    with serving(model) as served:
        assert [ending.finish for ending in asyncio.run(give_up(served))] == ["length", "length"]
    assert model.batches == [[2, 3]]


def test_a_batch_that_is_given_up_does_not_run_on_beside_the_next_one() -> None:
    """An overloaded rate ends with requests that are given up: what they leave running would slow the next one."""
    model = InstantModel()
    model.may_go_on.clear()

    async def give_up(served: TorchServing) -> list[Ending]:
        first = asyncio.Event()
        running = [asyncio.create_task(served.submit(a_request(i, 1000), lambda *_: first.set())) for i in (1, 2)]
        await first.wait()
        assert not await served.reset()  # they still run
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        model.may_go_on.set()
        assert await served.reset()
        return (await submit_all(served, a_request(3, 2), a_request(4, 2)))[0]

    with serving(model, LARGE) as served:
        assert [ending.finish for ending in asyncio.run(give_up(served))] == ["length", "length"]
    assert model.steps <= 2 + 2  # the given-up batch: the step that ran, and one after it where that had begun


def test_a_batch_runs_on_for_those_that_still_wait() -> None:
    model = InstantModel()
    model.may_go_on.clear()

    async def give_one_up(served: TorchServing) -> Ending:
        first = asyncio.Event()
        given_up, kept = (
            asyncio.create_task(served.submit(a_request(i, output), lambda *_: first.set()))
            for i, output in ((1, 1000), (2, 5))
        )
        await first.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        model.may_go_on.set()
        return await kept

    with serving(model, LARGE) as served:
        assert asyncio.run(give_one_up(served)).finish == "length"
        assert [step.running for step in served.steps()[0]] == [2, 1, 1, 1, 1]
    assert model.steps == 5  # not the thousand of the longest


def test_requests_that_are_given_up_while_a_batch_fills_do_not_end_the_queue() -> None:
    waiting: WaitingRequests[str] = WaitingRequests(most_rows=2, wait_s=0.2)
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(waiting.take(len)))
    waiting.add("given up")
    thread.start()
    waiting.discard("given up")
    thread.join(0.5)
    waiting.add("next")
    thread.join()
    assert taken == ["next"]
