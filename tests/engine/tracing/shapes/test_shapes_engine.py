"""Real engines in the shapes that users run: what has to hold of every recording, whatever its processes.

The shapes that are missing here are run by `python -m tracing.shapes`, whose table is in notes/tables/shapes.md.
"""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from tests.engine.tracing.shapes.shapes import SHAPES, ShapeTraces, shapes
from tracing.breakdown.gaps import Explained, explained, waiting, windows
from tracing.breakdown.stepkinds import busy_pieces
from tracing.page.tables import steptables
from tracing.shapes.hindrance import STRAGGLER_FILE
from tracing.shapes.pretend.truth import DeviceWait, StepTruth, read_truth
from tracing.shapes.pretend.work import SAMPLING_SHARE
from tracing.shapes.shape import shape_named
from tracing.shapes.verdict import DEMONSTRATION_TOKENS
from tracing.timeline.intervals import Pieces, gaps, length, union

__all__ = ["shapes"]  # a fixture that only these tests use

# One recording of all shapes is made in the first test's time.
pytestmark = [pytest.mark.engine, pytest.mark.slow(150), pytest.mark.timeout(2400)]

NO_CAUSE = Explained([])
LOSSES = ("cut", "died", "not hooked", "dropped", "other tokens")  # what the machine did to it is no loss
every_shape = pytest.mark.parametrize("name", SHAPES)


@every_shape
def test_every_request_is_whole(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.requests == verdict.whole >= 13
    assert not [line for line in verdict.problems if any(word in line for word in LOSSES)]


@every_shape
def test_hardly_anything_of_a_request_is_unexplained(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.unexplained_ns_per_token is not None and verdict.tokens == DEMONSTRATION_TOKENS
    assert verdict.is_explained


@every_shape
def test_a_steps_columns_add_up_to_its_length(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.columns_off_ns == 0
    assert verdict.step_unexplained_share < 0.03


@every_shape
def test_what_the_shape_is_there_to_show_is_seen(shapes: ShapeTraces, name: str) -> None:
    assert shapes.verdict(name).unshown == ()


@every_shape
def test_no_message_arrives_before_it_is_sent(shapes: ShapeTraces, name: str) -> None:
    assert shapes.verdict(name).negative_hops == 0


@every_shape
def test_the_worker_runs_the_tokens_that_the_core_scheduled(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.steps > 30 and verdict.token_mismatches == 0


@every_shape
def test_each_process_says_what_it_is(shapes: ShapeTraces, name: str) -> None:
    assert shapes.verdict(name).processes == shape_named(name).processes


@every_shape
def test_every_nanosecond_of_the_start_is_somebodys(shapes: ShapeTraces, name: str) -> None:
    starts, of_role = shapes.findings(name).review.starts, shape_named(name).processes
    assert len(starts) == of_role["core"]
    for start in starts:
        assert sum(part.ns for part in start.parts) == start.ns
        assert {"configuration", "executor", "weights", "KV cache"} < {part.stage for part in start.parts}
        assert start.workers * len(starts) == of_role["worker"]


def test_the_slow_rank_is_named(shapes: ShapeTraces) -> None:
    """The slow rank's own work is longer, and the fast one waits longer in collectives: by how much, other work on the
    cores has a say in."""
    truth = json.loads((shapes.folder / "straggler" / STRAGGLER_FILE).read_text())
    review = shapes.findings("straggler").review
    fast, slow = sorted(review.workers, key=lambda worker: worker.worker_pid == truth["pid"])
    assert steptables.straggler(review.workers).startswith(f"straggler: worker {truth['pid']} was the slowest")
    assert slow.own_median_ns - fast.own_median_ns > truth["delay_ns"] / 2
    assert fast.others_median_ns > slow.others_median_ns


def test_the_device_was_busy_for_as_long_as_it_says(shapes: ShapeTraces) -> None:
    """The truth lies between the two bounds, and where the device is the slower one they are within 2 % of it."""
    folder, timeline = shapes.folder / "one-gpu-device", shapes.findings("one-gpu-device").timeline
    (steps,) = read_truth(folder, StepTruth).values()
    most, surely = busy_pieces(timeline.device)
    truth, doubt = sum(step.busy_ns for step in steps), int(timeline.device["uncertainty_ns"].sum())
    assert length(surely) - doubt <= truth <= length(most) + doubt
    slow = timeline.device[timeline.device["given_ns"] <= timeline.device["begin_ns"]]
    whole = slow.groupby("step").filter(lambda pieces: len(pieces) == 2)
    measured = (whole["end_ns"] - whole["begin_ns"]).sum()
    assert measured == pytest.approx(sum(step.busy_ns for step in steps if step.step in set(whole["step"])), rel=0.02)


def test_a_dummy_batch_is_no_idle_time_of_its_device(shapes: ShapeTraces) -> None:
    """Of each of two devices the truth lies between the two bounds, whose engine works for requests or keeps step. The
    last pieces are read by nobody: nothing waits for a dummy batch."""
    folder, timeline = shapes.folder / "dp2-experts", shapes.findings("dp2-experts").timeline
    truth = read_truth(folder, StepTruth)
    assert len(truth) == 2
    for pid, every in truth.items():
        work = timeline.device[timeline.device["pid"] == pid]
        read_until = (work["end_ns"] + work["uncertainty_ns"]).max()
        steps = [step for step in every if step.end_ns <= read_until]
        assert len(every) - 8 < len(steps)
        assert (work["step"] < 0).sum() == sum(step.kind == "dummy" for step in steps) > 0
        most, surely = busy_pieces(work)
        busy, doubt = sum(step.busy_ns for step in steps), int(work["uncertainty_ns"].sum())
        assert length(surely) - doubt <= busy <= length(most) + doubt


def test_the_devices_idle_time_and_its_causes_are_the_true_ones(shapes: ShapeTraces) -> None:
    """All idle time lies between two bounds, and where these are one it and its causes are within 2 % of the truth."""
    folder, findings = shapes.folder / "one-gpu-device", shapes.findings("one-gpu-device")
    ((pid, steps),) = read_truth(folder, StepTruth).items()
    cores = findings.index.cores
    _, window = next(windows(findings.steps, {cores[pid]}))  # of all steps
    most, surely = busy_pieces(findings.timeline.device)
    true = waiting(0, "all", window, worked(steps), NO_CAUSE)
    shown, doubt = findings.review.devices[0], int(findings.timeline.device["uncertainty_ns"].sum())
    assert (shown.kind, shown.window_ns) == ("all", true.window_ns)
    assert shown.idle_ns - doubt <= true.idle_ns <= shown.window_ns - shown.busy_least_ns + doubt

    known = gaps(window, gaps(most, surely))
    why = explained(findings.index, findings.hops, {pid}, findings.machine)
    measured, true = (waiting(0, "all", known, busy, why, short=0) for busy in (most, worked(steps)))
    assert true.idle_ns > 0.01 * true.window_ns
    assert measured.idle_ns == pytest.approx(true.idle_ns, rel=0.02)
    expected = {cause.cause: cause.ns for cause in true.causes}
    ns = {cause.cause: cause.ns for cause in measured.causes}
    assert all(abs(ns.get(name, 0) - expected.get(name, 0)) <= 0.02 * true.idle_ns for name in ns | expected)


def worked(steps: list[StepTruth]) -> Pieces:
    """When the device worked: on a step's forward pass from its begin, on the sampling up to its end."""
    sampling = [round(step.busy_ns * SAMPLING_SHARE) for step in steps]
    begins = [(step.begin_ns, step.end_ns - last) for step, last in zip(steps, sampling, strict=True)]
    ends = [(step.begin_ns + step.busy_ns - last, step.end_ns) for step, last in zip(steps, sampling, strict=True)]
    return union(np.ravel(begins), np.ravel(ends))


def test_the_pretend_devices_truth_is_whole(shapes: ShapeTraces) -> None:
    """Every step that ran is there, one after the other as on a device, and what was waited for is one of them."""
    folder, timeline = shapes.folder / "one-gpu-device", shapes.findings("one-gpu-device").timeline
    (steps,) = read_truth(folder, StepTruth).values()
    (waits,) = read_truth(folder, DeviceWait).values()
    runs = timeline.spans.query("site == 'worker.execute' and value > 0")
    assert [step.step for step in steps] == runs["step"].tolist()
    assert [step.tokens for step in steps] == runs["value"].tolist()
    assert {wait.step for wait in waits} <= {step.step for step in steps}
    assert all(wait.begin_ns < wait.end_ns for wait in waits)
    assert all(before.end_ns <= after.begin_ns for before, after in pairwise(steps))
    assert {step.kind for step in steps} == {"prefill", "mixed", "decode"}
