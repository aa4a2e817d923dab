"""A step's columns divide its time: layouts as engines have them, and random ones."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracing.timeline.stepcolumns import divided, phases_of
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import findings
from tracing.page.tables import devicewaits, steptables
from tracing.sites.engine import SITES as SITE_TABLE
from tracing.timeline.steps.phases import NAMES, phase_of


def test_a_worker_inside_the_core_has_its_time_for_itself(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"]).counts(0, {"decode_requests": 1})
    core.span("scheduler.schedule", 0, 100, step=0)
    core.span("executor.dispatch", 110, 500, step=0).span("worker.execute", 120, 490, step=0)
    core.span("runner.prepare", 130, 200, step=0).span("runner.forward", 200, 450, step=0)
    core.span("executor.sample", 500, 700, step=0).span("worker.sample", 510, 690, step=0)
    core.span("scheduler.update", 700, 800, step=0).close()
    assert phases_of(divided(tmp_path), 0) == {
        "schedule": 100,
        "dispatch": 20 + 20,
        "prepare": 70,
        "model": 250,
        "execute": 50,
        "sample": 180,
        "update": 100,
        "unexplained": 10,
    }


def test_a_wait_inside_a_call_is_no_part_of_the_call(tmp_path: Path) -> None:
    """`sample_tokens` of the executor blocks until the worker has answered."""
    core = TraceWriter(tmp_path, 11, ["core"]).counts(0, {})
    core.span("scheduler.schedule", 0, 10, step=0).span("executor.sample", 10, 200, step=0)
    core.span("executor.wait", 20, 190, step=0).span("scheduler.update", 200, 210, step=0).close()
    TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.sample", 50, 150, step=0).close()
    assert phases_of(divided(tmp_path), 0) == {
        "schedule": 10,
        "dispatch": 20,
        "sample": 100,
        "wait_worker": 70,
        "update": 10,
    }


def queued(folder: Path, steps: int = 3) -> None:
    """A batch queue of two: each step of 1,000 is launched while the one before it runs on the device."""
    core = TraceWriter(folder, 11, ["core"])
    for step in range(steps):
        at = 1000 * step
        core.counts(step, {"decode_requests": 1, "decode_tokens": 1})
        core.span("scheduler.schedule", at, at + 100, step=step)
        core.span("executor.dispatch", at + 100, at + 300, step=step)
        core.span("runner.forward", at + 150, at + 250, step=step)
        if step:
            core.span("executor.wait", at + 300, at + 900, step=step - 1)
            core.span("scheduler.update", at + 900, at + 1000, step=step - 1)
    core.close()


def test_a_step_stands_behind_an_earlier_one(tmp_path: Path) -> None:
    queued(tmp_path)
    steps = divided(tmp_path)
    assert steps["period_ns"].tolist() == [1000, -1] and (steps["end_ns"] - steps["start_ns"]).tolist() == [2000, 2000]
    assert phases_of(steps, 1) == {
        "schedule": 100,
        "dispatch": 100,
        "model": 100,
        "earlier_step": 700,  # until the update of step 0
        "other_work": 300,  # step 2 is scheduled and launched
        "wait_worker": 600,
        "update": 100,
    }
    review = findings.analyze(timeline.read(tmp_path)).review
    assert (review.steps[0].median_ns, review.steps[0].period_median_ns) == (2000, 1000)
    assert "period" in steptables.step_table(review.steps)[0] and "latency of a step" in steptables.sentences(review)


def test_no_wait_is_shown_as_work() -> None:
    waits = [site for site in SITE_TABLE if site.share == "wait" and site.role in ("core", "worker")]
    phases = {site.stage: NAMES[phase_of(site.stage, site.role)] for site in waits}
    assert not {stage: name for stage, name in phases.items() if not name.startswith("wait_")}


def test_a_collection_stops_what_its_process_did(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"]).counts(0, {})
    core.span("scheduler.schedule", 0, 100, step=0).span("gc", 20, 60)
    core.span("executor.wait", 100, 400, step=0).span("scheduler.update", 400, 500, step=0).span("gc", 150, 300).close()
    worker = TraceWriter(tmp_path, 12, ["worker"], parent=11)
    worker.span("worker.execute", 200, 300, step=0).span("gc", 250, 280).close()
    assert phases_of(divided(tmp_path), 0) == {
        "schedule": 60,
        "gc": 40 + 50 + 30,
        "execute": 70,
        "wait_worker": 50 + 100,
        "update": 100,
    }


def test_warm_up_calls_of_a_worker_are_no_step(tmp_path: Path) -> None:
    worker = TraceWriter(tmp_path, 12, ["worker"], parent=11).span("worker.execute", 0, 1000, step=-1, value=64)
    core = TraceWriter(tmp_path, 11, ["core"]).counts(0, {}).span("scheduler.schedule", 2000, 2100, step=0, value=1)
    worker.span("worker.execute", 2100, 2200, step=0, value=1).close()
    core.span("scheduler.update", 2200, 2300, step=0).close()
    read = timeline.read(tmp_path)
    assert phases_of(divided(tmp_path), 0) == {"schedule": 100, "execute": 100, "update": 100}
    assert findings.analyze(read).review.problems == ()


SITES = {
    11: ["scheduler.schedule", "kv.allocate", "executor.dispatch", "executor.wait", "scheduler.update", "gc"],
    12: ["worker.execute", "runner.forward", "worker.sample", "worker.reply", "gc"],
    13: ["worker.execute", "runner.prepare", "gc"],
}
SPANS = st.lists(
    st.tuples(
        st.sampled_from(sorted(SITES)), st.integers(0, 5), st.integers(0, 300), st.integers(0, 80), st.integers(-1, 5)
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(SPANS, st.lists(st.tuples(st.integers(0, 60), st.integers(1, 120)), min_size=1, max_size=6))
def test_columns_add_up_whatever_was_recorded(spans: list[tuple[int, ...]], lengths: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        writers: dict[int, Any] = {
            pid: TraceWriter(Path(scratch), pid, ["worker" if pid > 11 else "core"], parent=11) for pid in SITES
        }
        start = 0
        for step, (gap, length) in enumerate(lengths):
            start += gap
            writers[11].counts(step, {}).span("scheduler.schedule", start, start + 1, step=step)
            writers[11].span("scheduler.update", start + length - 1, start + length, step=step)
        for pid, which, at, length, step in spans:
            writers[pid].span(SITES[pid][which % len(SITES[pid])], at, at + length, step=step)
        for writer in writers.values():
            writer.close()
        assert len(divided(Path(scratch)))


def test_on_a_device_the_workers_stages_are_launches_and_its_device_is_busy(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"])
    for step in range(3):
        at = 1_000_000 * step
        core.counts(step, {"decode_requests": 1}).span("scheduler.schedule", at, at + 100_000, step=step)
        core.span("worker.execute", at + 100_000, at + 200_000, step=step)
        core.span("runner.forward", at + 110_000, at + 190_000, step=step)
        core.span("scheduler.update", at + 800_000, at + 900_000, step=step)
        begin, end = at + 150_000, at + 750_000
        core.device(step, begin, end, uncertainty=100, given=begin + 100_000)
    core.close(device="pretend")
    review = findings.analyze(timeline.read(tmp_path)).review
    assert "forward (launch)" in set(timeline.read(tmp_path).spans["stage"])
    columns = steptables.step_table(review.steps, on_device=True)[0]
    assert "model (launch)" in columns and "forward (launch)" not in columns  # which is one of that phase's stages
    assert review.steps[0].worker_idle_share is None and review.steps[0].model_median_ns == 80_000
    device = review.devices[0]
    assert (device.window_ns, device.busy_ns, device.busy_least_ns) == (2_000_000, 1_200_000, 1_000_000)
    assert "GPU 0 waited at least 40.0% of the time (busy for 50.0% to 60.0%" in devicewaits.sentence(device)
