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
from tracing.events.processfile import ClockAnchor, ProcessRecord
from tracing.timeline.nodes import machines

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


SECOND = 1_000_000_000


def said(pid: int, machine: str = "", boot: str = "", booted_s: int = 0) -> ProcessRecord:
    """A process that reads its clocks an hour after its machine was booted."""
    anchor = ClockAnchor(3600 * SECOND, (booted_s + 3600) * SECOND, 1)
    return ProcessRecord(pid, machine_id=machine, boot_id=boot, anchor=anchor)


def test_machines_that_were_copied_while_they_ran_are_two() -> None:
    assert machines([said(1, "m", "a"), said(2, "n", "a", booted_s=90), said(3, "m", "a")]) == [[0, 2], [1]]


def test_containers_on_one_kernel_are_one_machine_whatever_their_ids() -> None:
    assert machines([said(1, "m", "a"), said(2, "n", "a"), said(3, "", "a")]) == [[0, 1, 2]]


def test_processes_that_cannot_read_their_boot_are_told_apart_by_when_it_was() -> None:
    assert machines([said(1), said(2, booted_s=1), said(3, booted_s=90)]) == [[0, 1], [2]]
    assert machines([said(1, booted_s=90), said(2, boot="a"), said(3, boot="b", booted_s=90)]) == [[1], [0, 2]]


def test_two_machines_that_cannot_read_their_ids_are_not_one(tmp_path: Path) -> None:
    """Their clocks differ by a minute: nothing went both ways, so they cannot be related."""
    for pid, role, site, ahead_ns in ((10, "front end", "client.send", 0), (11, "core", "core.receive", 60 * SECOND)):
        anchor = {"monotonic_ns": 0, "wall_ns": ahead_ns, "uncertainty_ns": 1}
        TraceWriter(tmp_path, pid, [role]).span(site, 10, 20, "a-1").close(anchor=anchor, boot_id="")
    with pytest.raises(EnginescopeError, match="ran on several machines"):
        timeline.read(tmp_path)


def test_a_process_whose_file_is_lost_ran_on_the_only_machine_or_is_refused() -> None:
    lost = ProcessRecord(3, is_lost=True)
    assert machines([said(1, boot="a"), lost]) == [[0, 1]]
    with pytest.raises(EnginescopeError, match="process 3 of this trace does not say on which of 2 machines it ran"):
        machines([said(1, boot="a"), said(2, boot="b"), lost])
