"""Machines with clocks of their own: what crossed between them says how they differ, or the trace is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from probes.errors import EnginescopeError
from tests.tracing.stories import only, stream
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import findings
from tracing.breakdown.requests import budget
from tracing.events import layout

LATE = 7_000_000_000  # another machine was started earlier by so much
US = 1_000
FIRST = -100 * US  # on the front end's clock: the records are whole from here on, and its wall clock was read then


def on_machine(folder: Path, pids: tuple[int, ...], boot: str, shift_ns: int, moved: Path | None = None) -> None:
    """Let some processes of a trace have run on a machine of their own; in a folder of its own where `moved` is one."""
    for pid in pids:
        path = folder / f"process-{pid}.json"
        process = json.loads(path.read_text()) | {"boot_id": boot, "first_ns": FIRST + shift_ns}
        process["anchor"]["monotonic_ns"] = FIRST + shift_ns
        path.write_text(json.dumps(process))
        records = np.fromfile(folder / f"events-{pid}.bin", layout.RECORD)
        spans = np.isin(records["kind"], (layout.SPAN, layout.RAISED))
        spans[0] = False  # the header
        for edge in ("start", "end"):
            records[edge][spans] += shift_ns
        records.tofile(folder / f"events-{pid}.bin")
        if moved:
            moved.mkdir(exist_ok=True)
            for name in (f"process-{pid}.json", f"events-{pid}.bin", f"events-{pid}.texts"):
                (folder / name).rename(moved / name)


def test_a_core_on_another_machine_is_put_on_the_front_ends_clock(tmp_path: Path) -> None:
    durations = [US * (1 + number % 7) for number in range(40)]
    stream(tmp_path, durations)
    alone = budget.budget(*only(tmp_path))
    on_machine(tmp_path, (10,), "boot a", 0, tmp_path / "a")
    on_machine(tmp_path, (11, 12), "boot b", -LATE, tmp_path / "b")
    index, flow = only(tmp_path)
    assert flow.state == "stopped" and flow.missing == ()
    [off_by_ns] = {process.clock_uncertainty_ns for process in index.timeline.processes} - {None}
    found = budget.budget(index, flow)
    assert off_by_ns < 30 * US
    for process in index.timeline.processes:
        assert process.anchor is not None
        assert process.first_ns == process.anchor.monotonic_ns == pytest.approx(FIRST, abs=off_by_ns)
    assert all(abs(found[part] - ns) <= 4 * off_by_ns for part, ns in alone.items() if part.startswith("wait: socket"))
    assert {part: found[part] for part in ("forward", "schedule", "tokenize")} == {
        part: alone[part] for part in ("forward", "schedule", "tokenize")
    }
    assert set(index.cores.values()) == {flow.core_pid}
    review = findings.analyze(timeline.read(tmp_path)).review
    assert [line for line in review.problems if "another machine" in line]


def test_machines_between_which_nothing_went_both_ways_are_refused(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 10, ["front end"]).span("client.send", 10, 20, "a-1").close(boot_id="a")
    TraceWriter(tmp_path, 11, ["core"]).span("core.receive", 15, 30, "a-1").close(boot_id="b")
    with pytest.raises(EnginescopeError, match="no messages went both ways"):
        timeline.read(tmp_path)


def test_messages_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """Each was received before it was sent, whatever the offset."""
    front = TraceWriter(tmp_path, 10, ["front end"]).span("client.send", 100, 101, "a-1")
    front.span("client.receive", 110, 111, step=5).close(boot_id="a")
    core = TraceWriter(tmp_path, 11, ["core"]).span("core.receive", 1000, 1001, "a-1")
    core.span("core.encode", 2000, 2001, step=5).close(boot_id="b")
    with pytest.raises(EnginescopeError, match=r"contradict each other by 1\.0 µs"):
        timeline.read(tmp_path)


def test_two_machines_may_have_a_process_id_in_common(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path / "a", 7, ["front end"]).span("client.send", 100, 101, "a-1")
    front.span("client.receive", 400, 401, step=5).close(boot_id="a")
    core = TraceWriter(tmp_path / "b", 7, ["core"]).span("core.receive", 1200, 1201, "a-1")
    core.span("core.encode", 1300, 1301, step=5).close(boot_id="b")
    spans = timeline.read(tmp_path).spans
    assert spans["pid"].nunique() == 2
    assert spans["site"].tolist() == ["client.send", "core.receive", "core.encode", "client.receive"]
