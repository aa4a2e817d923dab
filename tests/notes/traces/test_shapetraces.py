"""The trace of a shape: one request of a recording, without anything of the machine it ran on; and those committed."""

from __future__ import annotations

import json
import lzma
import re
import socket
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from notes.traces import reducing, shapetrace
from probes.errors import EnginescopeError
from tests.tracing.stories import NS, stream
from tests.tracing.tracerecords import recorded
from tracing.breakdown.findings import analyze
from tracing.shapes.shape import SHAPES

COMMAND = "/home/me/.venv/bin/python -m tracing.demo --shape cpu"
FOREIGN = re.compile(r"/|\\\\|~|@|(?i:users|home)")  # a path, a host or a login


@pytest.fixture
def trace(tmp_path: Path) -> shapetrace.ShapeTrace:
    stream(tmp_path / "cpu", NS, steps=3)
    recorded(tmp_path / "cpu", command=COMMAND)
    return reducing.reduced(tmp_path / "cpu", "cpu")


def test_one_request_is_kept_whole_under_small_numbers(trace: shapetrace.ShapeTrace) -> None:
    spans = trace.timeline.spans
    assert spans["start_ns"].min() == 0 and set(spans["pid"]) == {1, 2, 3}
    assert [(each.pid, each.serves, each.parent) for each in trace.timeline.processes] == [
        (1, ("front end",), 0),
        (2, ("core",), 1),
        (3, ("worker",), 2),
    ]
    (flow,) = analyze(trace.timeline).flows
    assert flow.is_complete and len(flow.steps) == 3
    assert shapetrace.PassedPlace("scheduler.schedule", "core", 2, "MainThread", 3) in trace.passed
    assert trace.about.startswith("python -m tracing.demo --shape cpu; ")


def test_a_trace_is_read_as_it_was_written(trace: shapetrace.ShapeTrace, tmp_path: Path) -> None:
    path = shapetrace.write(trace, tmp_path)
    again = shapetrace.read("cpu", tmp_path)
    assert path.name == "cpu.json.xz" and shapetrace.shapes(tmp_path) == ["cpu"]
    assert (again.about, again.passed, again.timeline.texts) == (trace.about, trace.passed, trace.timeline.texts)
    for name in shapetrace.FRAMES:
        one, other = getattr(again.timeline, name), getattr(trace.timeline, name)
        pd.testing.assert_frame_equal(one, other, check_dtype=False, check_categorical=False, check_index_type=False)


def test_a_trace_that_counted_less_of_its_steps_is_read(trace: shapetrace.ShapeTrace, tmp_path: Path) -> None:
    counted = trace.timeline.steps.drop(columns="kv_used_blocks")
    shapetrace.write(replace(trace, timeline=replace(trace.timeline, steps=counted)), tmp_path)
    steps = shapetrace.read("cpu", tmp_path).timeline.steps
    assert list(steps["kv_used_blocks"]) == [shapetrace.NOT_COUNTED] * 3
    assert len(analyze(shapetrace.read("cpu", tmp_path).timeline).steps) == 3


def test_a_trace_of_something_else_is_refused(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    recorded(tmp_path, command=COMMAND)
    with pytest.raises(EnginescopeError, match=r"does not record tracing\.demo --shape tp2"):
        reducing.reduced(tmp_path, "tp2")


def test_a_trace_of_another_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "cpu.json.xz").write_bytes(lzma.compress(b'{"schema": 0}'))
    with pytest.raises(EnginescopeError, match=r"of schema 0, not 1: write it again with python -m notes\.recorded"):
        shapetrace.read("cpu", tmp_path)


# --- those that are committed ---


@pytest.mark.parametrize("shape", shapetrace.shapes())
def test_a_committed_trace_is_small_and_says_nothing_of_its_machine(shape: str) -> None:
    packed = (shapetrace.FOLDER / f"{shape}.json.xz").read_bytes()
    assert len(packed) < 100_000
    text = lzma.decompress(packed).decode()
    kept = json.loads(text)
    assert set(kept) == {"schema", "made_by", "shape", "about", "processes", "passed", "texts", "frames"}
    assert {key for process in kept["processes"] for key in process} <= {"pid", "parent", "serves", "device", "modes"}
    assert max(process["pid"] for process in kept["processes"]) == len(kept["processes"])
    assert not FOREIGN.findall(text) and socket.gethostname() not in text


@pytest.mark.parametrize("shape", shapetrace.shapes())
def test_a_committed_trace_has_the_processes_of_its_shape_and_a_finished_request(shape: str) -> None:
    trace = shapetrace.read(shape)
    serving = [role for process in trace.timeline.processes for role in process.serves]
    passed = {role: len({place.pid for place in trace.passed if place.role == role}) for role in ("core", "worker")}
    assert {"front end": serving.count("front end"), **passed} == SHAPES[shape].processes
    (flow,) = analyze(trace.timeline).flows
    assert flow.is_complete


def test_all_committed_traces_together_are_small() -> None:
    assert sum(path.stat().st_size for path in shapetrace.FOLDER.glob("*.json.xz")) < 1_000_000
