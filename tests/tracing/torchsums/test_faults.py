"""Torch traces that are not as they should be: cut short, of another clock, or no traces at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.tracing.torchsums import chrometraces
from tests.tracing.torchsums.chrometraces import AHEAD_NS, event
from tests.tracing.torchsums.torchfolders import ANCHOR, OPERATORS
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import findings
from tracing.page.tables.watchers import operator_rows
from tracing.torchsums import operators, trace


def problems(folder: Path) -> list[str]:
    read = operators.read(timeline.read(folder))
    assert read is not None
    return read.problems


def test_a_file_cut_short_counts_as_far_as_it_goes(folder: Path) -> None:
    path = chrometraces.write(folder / "torch" / "rank0.json", OPERATORS)
    path.write_bytes(path.read_bytes()[:-400])
    read = operators.read(timeline.read(folder))
    assert read is not None and read.names["count"].sum() >= 3
    assert read.problems == ["rank0.json ends in the middle: its profiler was not stopped (stop_profile)"]


def test_an_event_that_ends_before_it_begins_is_named(folder: Path) -> None:
    """A negative time would make shares above 100 %."""
    chrometraces.write(folder / "torch" / "rank0.json", [event("cpu_op", "aten::mm", 1500, 1400), *OPERATORS])
    assert problems(folder)[0] == "rank0.json: its event aten::mm ends before it begins"


@pytest.mark.parametrize("content", [b"hello", b'{"traceEvents": [{"ph": "X", "dur": NaN}]}'])
def test_what_is_no_json_is_not_said_to_end_early(folder: Path, content: bytes) -> None:
    (folder / "torch").mkdir(exist_ok=True)
    (folder / "torch" / "rank0.json").write_bytes(content)
    problem = problems(folder)[0]
    assert "ends in the middle" not in problem and problem.startswith("rank0.json ")


@pytest.mark.parametrize("content", [b"", b"hello", b'{"traceEvents": [{"ph": "X", "cat": "cpu_op"}]}', b"[1, 2]"])
def test_what_is_no_trace_is_one_line(folder: Path, content: bytes) -> None:
    for name in ("rank0.json", "rank1.json.gz"):
        path = folder / "torch" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    read = problems(folder)
    assert len(read) >= 1 and all("\n" not in line for line in read)


def test_no_base_time_and_another_machine(folder: Path) -> None:
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS, base_ns=None)
    assert "no baseTimeNanoseconds" in problems(folder)[0]
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS, base_ns=chrometraces.BASE_NS + 10**12)
    assert "outside of all spans" in problems(folder)[0]
    summary = findings.findings(folder).review.operators
    assert summary is not None and summary.steps == 0
    assert {tuple(row[3:5]) for row in operator_rows(summary)} == {("n/a", "n/a")}  # calls and own time a step


def test_a_wall_clock_that_was_set_shows(folder: Path) -> None:
    TraceWriter(folder, 13, ["core"]).close(anchor=ANCHOR | {"wall_ns": AHEAD_NS + 5000, "uncertainty_ns": 50})
    clock = trace.clock(timeline.read(folder))
    assert clock == (AHEAD_NS, 5040)


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match=r"gone\.json cannot be read"):
        list(trace.events(tmp_path / "gone.json", 0))
