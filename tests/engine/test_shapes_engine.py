"""Real engines in the shapes that users run: what has to hold of every recording, whatever its processes.

The shapes that are missing here are run by `python -m tracing.shapes`, whose table is in notes/tables/shapes.md.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.engine.shapes import SHAPES, ShapeTraces, shapes
from tracing.shapes.pretend.truth import DeviceWait, StepTruth, read_truth

__all__ = ["shapes"]  # a fixture that only these tests use

# One recording of all shapes is made in the first test's time.
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(2400)]

WORKERS = {"tp2": 2}  # elsewhere there is one
LOSSES = ("cut", "died", "not hooked", "dropped", "other tokens")  # what the machine did to it is no loss
every_shape = pytest.mark.parametrize("name", SHAPES)
# Where the worker runs in the core's thread nothing hides the engine loop's own time between the hooks.
NOT_YET = pytest.mark.xfail(reason="the engine loop's own time has no span there: 1 to 3 % of a request", strict=False)
IN_CORE = ("one-gpu", "one-gpu-device", "in-process")


@every_shape
def test_every_request_is_whole(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.requests == verdict.whole >= 13
    assert not [line for line in verdict.problems if any(word in line for word in LOSSES)]


@pytest.mark.parametrize("name", [pytest.param(name, marks=NOT_YET if name in IN_CORE else ()) for name in SHAPES])
def test_hardly_anything_of_a_request_is_unexplained(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.unexplained_ns_per_token is not None and verdict.unexplained_share is not None
    assert verdict.unexplained_ns_per_token < 60_000 or verdict.unexplained_share < 0.01


@every_shape
def test_a_steps_columns_add_up_to_its_length(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.columns_off_ns == 0
    assert verdict.step_unexplained_share < 0.03


@every_shape
def test_no_message_arrives_before_it_is_sent(shapes: ShapeTraces, name: str) -> None:
    assert shapes.verdict(name).negative_hops == 0


@every_shape
def test_the_worker_runs_the_tokens_that_the_core_scheduled(shapes: ShapeTraces, name: str) -> None:
    verdict = shapes.verdict(name)
    assert verdict.steps > 30 and verdict.token_mismatches == 0


@every_shape
def test_each_process_says_what_it_is(shapes: ShapeTraces, name: str) -> None:
    roles = shapes.verdict(name).roles
    expected = {"front end": 1, "core": 1, "worker": WORKERS.get(name, 1)}
    assert {role: roles.get(role, 0) for role in expected} == expected


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
