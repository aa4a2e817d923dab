"""What the hypervisor and the quota took is a cause of slow steps, and of what is unexplained in requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probes.machine import fingerprint
from tests.tracing.breakdown.requests.test_meanwhile import in_one_thread
from tests.tracing.tracerecords import recorded
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.findings import findings
from tracing.breakdown.requests import budget
from tracing.breakdown.requests.piece import QUOTA, RUN_QUEUE, STOLEN
from tracing.events.contention import COLUMNS, FILE, STEAL, THREAD, THROTTLED
from tracing.timeline import requests
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index

MS = 1_000_000


@pytest.mark.parametrize(
    ("stolen_ms", "reason"),
    [
        (4 * 16, "the hypervisor took 16.00 ms of a core on the mean (steal)"),
        (4 * 2, "schedule took 20.00 ms more than usual"),
    ],
)
def test_a_step_that_the_hypervisor_made_slow_says_so(tmp_path: Path, stolen_ms: int, reason: str) -> None:
    """Of eleven steps of 1 ms the seventh takes 21, on a machine of four cores."""
    core = TraceWriter(tmp_path, 11, ["core"], parent=10)
    for step in range(11):
        start, longer = step * MS + 20 * MS * (step > 6), 20 * MS * (step == 6)
        core.counts(step, {"decode_requests": 2, "decode_tokens": 2})
        core.span("scheduler.schedule", start, start + MS // 10 + longer, step=step)
        core.span("scheduler.update", start + MS // 2 + longer, start + MS + longer, step=step)
    core.close()
    recorded(tmp_path, machine=replace(fingerprint(), cores_logical=4))
    rows = [f"{at * MS},steal,0,0,{total * MS}" for at, total in ((0, 7), (6, 7), (27, 7 + stolen_ms))]
    (tmp_path / FILE).write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    slowest = findings(tmp_path).review.slow_steps[0]
    assert (slowest.step, slowest.reason) == (6, reason)


def test_what_the_hypervisor_takes_of_every_step_makes_none_slow(tmp_path: Path) -> None:
    """An eighth of every step is taken; the seventh of eleven takes 12 ms more than the others' 100."""
    core = TraceWriter(tmp_path, 11, ["core"], parent=10)
    for step in range(11):
        start, longer = step * 100 * MS + 12 * MS * (step > 6), 12 * MS * (step == 6)
        core.counts(step, {"decode_requests": 2, "decode_tokens": 2})
        core.span("scheduler.schedule", start, start + 10 * MS + longer, step=step)
        core.span("scheduler.update", start + 50 * MS + longer, start + 100 * MS + longer, step=step)
    core.close()
    recorded(tmp_path, machine=replace(fingerprint(), cores_logical=1))
    rows = [f"{at * 100 * MS},steal,0,0,{at * 12 * MS}" for at in range(13)]
    (tmp_path / FILE).write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    slowest = findings(tmp_path).review.slow_steps[0]
    assert (slowest.step, slowest.reason) == (6, "schedule took 12.00 ms more than usual")


def test_what_is_unexplained_in_a_request_has_the_quota_and_the_hypervisor_for_causes(tmp_path: Path) -> None:
    """Of all time a thread stood in the run queue for four tenths, for one of these by the quota; of the rest the
    hypervisor took two of each of four cores."""
    in_one_thread(tmp_path)
    index = Index(timeline.read(tmp_path))
    tenths = {(THREAD, 11, 1): 4, (THROTTLED, 0, 0): 1, (STEAL, 0, 0): 4 * 2}
    moments = np.array([0, 2000])
    samples = Contention(moments, {key: (moments, moments // 10 * ten) for key, ten in tenths.items()})
    frame = budget.budgets(index, requests.flows(index), samples, cores=4)
    a = frame.iloc[0]
    assert a[[RUN_QUEUE, QUOTA, STOLEN]].tolist() == [60, 20, 40]  # of 100 of the loop, and 100 unexplained
    assert a[["engine loop", budget.UNEXPLAINED]].tolist() == [40, 40]
    assert a[["schedule", "dispatch"]].tolist() == [100, 280]  # measured: what the machine took is in them
    latencies = [flow.latency_ns for flow in requests.flows(index)]
    assert frame.sum(axis=1).tolist() == latencies
