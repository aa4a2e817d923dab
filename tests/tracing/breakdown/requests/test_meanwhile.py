"""What the processes did while a request had no stage of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.tracing.stories import KEY, only
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.requests import budget
from tracing.breakdown.requests.piece import RUN_QUEUE
from tracing.events.contention import THREAD
from tracing.events.layout import CALLED, SUSPENDED, YIELDED
from tracing.timeline import requests
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index


def in_one_thread(folder: Path) -> None:
    """The worker inside the core, with a batch queue: each step is launched, then the one before it is read.

    Request a is in step 0 alone, b in both.
    """
    front = TraceWriter(folder, 10, ["front end"], threads={1: "MainThread"})
    core = TraceWriter(folder, 11, ["core"], parent=10)
    for name in ("a", "b"):
        front.span("async.generate", 0, 0, name, value=CALLED).span("async.generate", 0, 0, name, value=SUSPENDED)
        front.span("input.assign_id", 0, 0, f"{name}-1").renamed(f"{name}-1", name)
        core.span("core.receive", 0, 0, f"{name}-1", thread=2).span("core.add_request", 0, 0, f"{name}-1", value=1)
    core.batch(0, {"a-1": 1, "b-1": 1}).counts(0, {}).batch(1, {"b-1": 1}).counts(1, {})
    core.span("core.step", 0, 400, step=0)
    core.span("scheduler.schedule", 0, 100, step=0).span("executor.dispatch", 110, 390, step=0)
    core.span("core.step", 400, 1000, step=1)
    core.span("scheduler.schedule", 410, 500, step=1).span("executor.dispatch", 520, 800, step=1)
    core.span("scheduler.update", 850, 900, step=0).message(0, KEY)
    core.span("core.step", 1000, 1100, step=1).span("scheduler.update", 1010, 1090, step=1).message(1, KEY + 1)
    for name, freed, end, step in (("a", 860, 1000, 0), ("b", 1020, 1100, 1)):
        core.span("scheduler.free", freed, freed, f"{name}-1", step=step, value=1, extra="FINISHED_LENGTH_CAPPED")
        front.span("output.process", end, end, step=KEY + step)
        front.span("async.generate", end, end, name, value=YIELDED, extra=1)
    front.close()
    core.close()


def test_a_loops_own_time_and_the_next_steps_launch_are_parts_of_a_request(tmp_path: Path) -> None:
    """Both were unexplained."""
    in_one_thread(tmp_path)
    index = Index(timeline.read(tmp_path))
    a, b = (budget.budget(index, flow) for flow in requests.flows(index))
    assert a == {
        "schedule": 100,
        "dispatch": 280,
        "wait: other work": 90 + 280,  # step 1, of which it is no part, is launched first
        "engine loop": 10 + 10 + 10 + 20 + 50,
        "update": 50,
        budget.UNEXPLAINED: 100,  # after its last update
    }
    assert b["engine loop"] == 10 + 10 + 10 + 20 + 50 + 100 + 10 and "wait: other work" not in b


def test_a_request_waits_for_an_earlier_step_that_is_not_its_own(tmp_path: Path) -> None:
    """With the worker in a process of its own the core goes on: the step stands behind another one."""
    front = TraceWriter(tmp_path, 10, ["front end"]).renamed("a-1", "a")
    front.span("async.generate", 0, 0, "a", value=CALLED).span("async.generate", 0, 0, "a", value=SUSPENDED)
    front.span("input.assign_id", 0, 0, "a-1")
    core = TraceWriter(tmp_path, 11, ["core"], parent=10).span("scheduler.schedule", 0, 10, step=0).counts(0, {})
    core.span("core.receive", 0, 0, "a-1", thread=2).span("core.add_request", 10, 20, "a-1", value=1)
    core.span("scheduler.schedule", 20, 30, step=1).batch(1, {"a-1": 1}).counts(1, {})
    core.span("executor.dispatch", 30, 40, step=1).span("scheduler.update", 90, 100, step=0)
    core.span("scheduler.update", 190, 200, step=1).message(1, KEY)
    core.span("scheduler.free", 195, 195, "a-1", step=1, value=1, extra="FINISHED_LENGTH_CAPPED").close()
    TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.execute", 95, 190, step=1).close()
    front.span("output.process", 200, 200, step=KEY).span("async.generate", 200, 200, "a", value=YIELDED, extra=1)
    front.close()
    index, flow = only(tmp_path)
    found = budget.budget(index, flow)
    assert found["wait: earlier step"] == 95 - 40
    assert found[budget.UNEXPLAINED] == 10  # before it was admitted


def test_time_in_the_run_queue_is_no_mystery_and_no_work_of_the_loop(tmp_path: Path) -> None:
    """The core's thread stood in the run queue for half of the time between two samples."""
    in_one_thread(tmp_path)
    index = Index(timeline.read(tmp_path))
    samples = Contention(np.array([0, 2000]), {(THREAD, 11, 1): (np.array([0, 2000]), np.array([0, 1000]))})
    a, _ = (budget.budget(index, flow, samples) for flow in requests.flows(index))
    assert a[RUN_QUEUE] == (100 + 100) // 2
    assert (a["engine loop"], a[budget.UNEXPLAINED]) == (50, 50)
    assert (a["schedule"], a["dispatch"]) == (100, 280)  # measured: what they stood in the queue is in them
