"""What a shape is there to show is in its recording, or what is not is named: sites, and what held the engine up."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from notes.traces import shapetrace
from tests.shells import until
from tests.tracing.record.test_contention import slow_step
from tests.tracing.stories import NS, stream
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.findings import Findings, analyze, findings
from tracing.shapes import hindrance, quota
from tracing.shapes.shape import SHAPES
from tracing.shapes.shown import unshown
from tracing.shapes.verdict import verdict
from tracing.sites.engine import CODES

MS = 1_000_000
THROTTLED = ["6000000,throttled,0,0,7", "27000000,throttled,0,0,32000007", "31000000,throttled,0,0,32000007"]


def test_a_shape_without_a_span_of_its_own_site_does_not_hold(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    found = analyze(timeline.read(tmp_path))
    judged = verdict(found, SHAPES["ngram"])
    assert judged.unshown == ("no span of spec.propose", "no span of spec.verify")
    assert not judged.holds
    assert unshown(found, replace(SHAPES["ngram"], shows=("core.encode",))) == ()


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_shape_must_show_is_a_site_that_its_committed_trace_has_passed(name: str) -> None:
    shows = set(SHAPES[name].shows)
    assert shows <= set(CODES)
    if name in shapetrace.shapes():
        assert shows <= shapetrace.read_all()[name].sites


def test_every_feature_shows_a_site_that_no_plain_engine_has() -> None:
    plain = shapetrace.read("cpu").sites
    for name in ("ngram", "lora", "kv-connector", "grammar", "pictures", "tp2", "tp2-async", "one-gpu", "in-process"):
        assert set(SHAPES[name].shows) - plain, name


def neighbours(folder: Path, *pieces: tuple[int, int]) -> Findings:
    """A trace whose seventh step stood in the run queue for 18 of its 21 ms, and when neighbours worked."""
    lines = [json.dumps({"core": 0, "begin_ns": begin * MS, "end_ns": end * MS}) for begin, end in pieces]
    (folder / hindrance.NEIGHBOUR_FILE).write_text("".join(f"{line}\n" for line in lines))
    return findings(folder)


def test_the_run_queue_is_named_while_a_neighbour_worked(tmp_path: Path) -> None:
    slow_step(tmp_path, [])
    shape = SHAPES["busy-neighbour"]
    assert unshown(neighbours(tmp_path, (6, 20), (7, 27)), shape) == ()
    assert unshown(neighbours(tmp_path, (0, 5)), shape) == (
        "the run queue is not named, though neighbours worked for 16% of the time with traffic",
    )
    assert unshown(neighbours(tmp_path, (50, 60)), shape) == ("no neighbour worked while there was traffic",)
    assert unshown(neighbours(tmp_path), shape) == ("no neighbour worked while there was traffic",)


def test_a_quota_that_stopped_threads_is_named(tmp_path: Path) -> None:
    slow_step(tmp_path, ["0,throttled,0,0,7", *THROTTLED])
    shape = SHAPES["quota"]
    assert unshown(findings(tmp_path), shape) == ("the quota stopped no thread",)
    (tmp_path / quota.FILE).write_text(json.dumps({"throttled_ns": 32 * MS}))
    assert unshown(findings(tmp_path), shape) == ()
    slow_step(tmp_path, [])
    assert unshown(findings(tmp_path), shape) == ("the CPU quota is not named, though it stopped threads for 32 ms",)


def test_the_straggler_is_the_slowest_in_most_steps(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"])
    workers = [TraceWriter(tmp_path, pid, ["worker"], parent=11) for pid in (12, 13)]
    for step in range(4):
        start = 100 * MS * step
        core.counts(step, {"decode_requests": 1}).span("scheduler.schedule", start, start + MS, step=step)
        for worker, longer in zip(workers, (0, 10), strict=True):
            worker.span("worker.execute", start + MS, start + (20 + longer) * MS, step=step)
        core.span("scheduler.update", start + 40 * MS, start + 41 * MS, step=step)
    for writer in (core, *workers):
        writer.close()
    shape = replace(SHAPES["straggler"], shows=())
    found = analyze(timeline.read(tmp_path))
    assert unshown(found, shape) == ("no worker was held up",)
    (tmp_path / hindrance.STRAGGLER_FILE).write_text(json.dumps({"pid": 13}))
    assert unshown(found, shape) == ()
    (tmp_path / hindrance.STRAGGLER_FILE).write_text(json.dumps({"pid": 12}))
    assert unshown(found, shape) == ("worker 12 is held up in each step, and not the slowest in most",)


def test_neighbours_work_from_the_first_moment_and_what_they_did_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the midst of a turn of 0.3 s."""
    core = min(os.sched_getaffinity(0))
    monkeypatch.setenv("ENGINESCOPE_TRACE", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {core})
    file = tmp_path / hindrance.NEIGHBOUR_FILE
    with hindrance.busy_neighbours():
        assert file.exists()
        until(file.read_text)
    assert {json.loads(line)["core"] for line in file.read_text().splitlines()} == {core}


def test_a_group_may_use_what_its_limit_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands for the kernel's, which counts for how long it stopped the group."""
    monkeypatch.setattr(quota, "GROUPS", tmp_path)
    monkeypatch.setattr(quota, "present_group", lambda: tmp_path)
    monkeypatch.setenv("ENGINESCOPE_TRACE", str(tmp_path))
    with quota.own_group():
        group = quota.group_of(os.getpid())
        (group / "cpu.stat").write_text("nr_periods 1\nthrottled_time 5\n")
        with quota.limit(0.5):
            assert (group / quota.LIMIT).read_text() == "50000"
            (group / "cpu.stat").write_text("nr_periods 9\nthrottled_time 47\n")
        assert (group / quota.LIMIT).read_text() == quota.NONE
    assert json.loads((tmp_path / quota.FILE).read_text())["throttled_ns"] == 42
    assert (tmp_path / quota.PROCESSES).read_text() == str(os.getpid())
