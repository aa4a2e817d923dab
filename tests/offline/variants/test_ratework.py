"""A rate inside a variant's process, with the real sender beside it: every request is written, whatever comes of it."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from offline.load.planning.schedule import Schedule, ScheduleHead, write_schedule
from offline.load.records import MeasuredRate, ServedRequest
from offline.variants.process import rate
from offline.variants.ratework import RateName, RateWork
from offline.variants.sender import send_schedule
from offline.variants.serving import Ending, Receive, ScheduledRequest
from tests.offline.load.fakeserving import FakeServing


def schedule(rate_req_s: float | None, tokens: list[int], duration_s: float = 0.2) -> Schedule:
    head = ScheduleHead("m", "abc", 1000, "constant", rate_req_s, duration_s, 1.0, 0, "p", True)
    gap_s = 1 / rate_req_s if rate_req_s else 0.0
    requests = [ScheduledRequest(n, n * gap_s, (5, 6, 7), count) for n, count in enumerate(tokens)]
    return Schedule(head, tuple(requests))


def send(plan: Schedule, path: str) -> None:
    with suppress(BrokenPipeError):  # the variant died
        send_schedule(plan, path)


def serve(
    folder: Path, plan: Schedule, drain_s: float = 5.0, **settings: float
) -> tuple[MeasuredRate, list[ServedRequest]]:
    """Send a schedule from a thread and serve it here."""
    written: list[ServedRequest] = []

    async def work() -> MeasuredRate:
        rate = RateWork(FakeServing(settings), plan, RateName("v", 2, plan.head.rate_req_s), written.append)
        return await rate.run(folder / "socket", drain_s, True)

    sender = threading.Thread(target=send, args=(plan, str(folder / "socket")), daemon=True)
    sender.start()
    measured = asyncio.run(work())
    sender.join(10)
    return measured, written


def test_every_request_is_written_with_its_times(tmp_path: Path) -> None:
    measured, written = serve(tmp_path, schedule(100.0, [1, 3, 2]))
    assert (measured.scheduled, measured.sent, measured.finished, measured.unfinished) == (3, 3, 3, 0)
    assert measured.end_ns - measured.begin_ns == 200_000_000 and measured.closed_ns >= measured.end_ns
    by_id = {each.request: each for each in written}
    assert [by_id[n].tokens for n in range(3)] == [(1,), (1, 1, 1), (1, 1)]
    for number, each in by_id.items():
        assert each.scheduled_ns == measured.begin_ns + number * 10_000_000
        assert each.scheduled_ns <= each.sent_ns <= (each.queued_ns or 0) <= each.token_ns[0]
        assert (each.variant, each.start, each.rate_req_s, each.prompt_tokens) == ("v", 2, 100.0, 3)


def test_what_still_runs_after_the_drain_is_unfinished(tmp_path: Path) -> None:
    measured, written = serve(tmp_path, schedule(100.0, [1, 5000]), drain_s=0.1)
    assert (measured.finished, measured.unfinished) == (1, 1)
    assert [each.finish for each in written] == ["length", "unfinished"]
    assert 0 < len(written[1].token_ns) < 5000


def test_one_at_a_time_sends_the_next_when_the_last_has_ended(tmp_path: Path) -> None:
    _, written = serve(tmp_path, schedule(None, [3, 3, 3], duration_s=30.0))
    assert [each.request for each in written] == [0, 1, 2]
    assert all(after.scheduled_ns >= before.token_ns[-1] for before, after in pairwise(written))
    assert all(each.scheduled_ns == each.sent_ns for each in written)


def test_one_at_a_time_ends_with_its_duration(tmp_path: Path) -> None:
    measured, written = serve(tmp_path, schedule(None, [20] * 1000, duration_s=0.2))
    assert measured.scheduled == 1000 and 1 <= measured.sent == len(written) < 100


def test_a_variant_that_died_ends_the_rate_with_its_words(tmp_path: Path) -> None:
    """The second request brings the variant down; the third and fourth are not waited for."""
    with pytest.raises(RuntimeError, match="the core is gone"):
        serve(tmp_path, schedule(100.0, [1, 1, 5000, 5000], duration_s=30.0), raises_at=2)


def test_a_full_disk_ends_the_rate(tmp_path: Path) -> None:
    def full(_: ServedRequest) -> None:
        raise OSError(28, "No space left on device")

    async def work() -> None:
        plan = schedule(100.0, [1, 1], duration_s=30.0)
        threading.Thread(target=send, args=(plan, str(tmp_path / "socket")), daemon=True).start()
        await RateWork(FakeServing({}), plan, RateName("v", 1, 100.0), full).run(tmp_path / "socket", 5.0, True)

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(work())


def test_what_is_in_memory_before_a_rate_is_not_collected_in_it(tmp_path: Path) -> None:
    plan, place = schedule(None, [1]), str(tmp_path / "socket")
    write_schedule(tmp_path / "plan.jsonl", plan)
    frozen: list[int] = []

    class Serving(FakeServing):
        async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
            frozen.append(gc.get_freeze_count())
            return Ending("length", 0)

    command = {"folder": str(tmp_path), "schedule": str(tmp_path / "plan.jsonl"), "socket": place}
    threading.Thread(target=send, args=(plan, place), daemon=True).start()
    try:
        asyncio.run(rate(Serving({}), {"variant": "v", "start": 1, "drain_s": 5.0, **command}))
    finally:
        gc.unfreeze()
    assert frozen[0] > 10_000
