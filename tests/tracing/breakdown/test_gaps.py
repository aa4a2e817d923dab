"""Why a device stood still: the causes are laid together once, and of the machine is asked only what was sampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown import gaps
from tracing.breakdown.gaps import Cause, Explained, causes, explained
from tracing.breakdown.starvation import MachineSamples
from tracing.timeline.contention import Contention
from tracing.timeline.index import Index
from tracing.timeline.intervals import Ints, Pieces, length, union

CORE, WORKER = 11, 12
NO_HOPS = pd.DataFrame({"hop": [], "core": [], "from_ns": [], "to_ns": []})


def piece(start: int, end: int) -> Pieces:
    return np.array([start]), np.array([end])


def test_what_covers_the_gaps_is_laid_together_once_for_all_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    unions: list[Pieces] = []

    def counted(start: Ints, end: Ints) -> Pieces:
        unions.append(union(start, end))
        return unions[-1]

    monkeypatch.setattr(gaps, "union", counted)
    scheduling = Cause("schedule", 5, pd.DataFrame({"start_ns": [10, 20], "end_ns": [20, 30]}))
    why = Explained([scheduling], lambda uncovered: {"steal": length(uncovered)})
    assert why.inside(piece(0, 40)) == {"schedule": 20, "steal": 20}
    assert why.inside(piece(25, 50)) == {"schedule": 5, "steal": 20}
    assert [(start.tolist(), end.tolist()) for start, end in unions] == [([10], [30])]


def test_a_machine_that_was_not_sampled_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(self: MachineSamples, pieces: Pieces, processes: set[int]) -> dict[str, int]:
        raise AssertionError("nothing was sampled")

    monkeypatch.setattr(MachineSamples, "inside", asked)
    TraceWriter(tmp_path, CORE, ["core"]).span("scheduler.schedule", 10, 30, step=0).close()
    machine = MachineSamples(Contention(), {}, cores=1)
    why = explained(Index(timeline.read(tmp_path)), NO_HOPS, {WORKER}, machine)
    assert why.inside(piece(0, 40)) == {"schedule": 20}


def test_a_device_waits_for_the_ranks_for_which_its_worker_does(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, CORE, ["core", "worker"]).span("runner.prepare", 10, 100, step=0)
    core.span("ranks.agree", 30, 80, step=0).close(device="cuda")
    why = explained(Index(timeline.read(tmp_path)), NO_HOPS, {CORE}, MachineSamples(Contention(), {}, cores=1))
    assert why.inside(piece(0, 100)) == {"prepare": 40, "wait: other ranks": 50}


def test_what_ran_while_a_worker_was_busy_is_no_cause_of_its_gaps(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, CORE, ["core"]).counts(0, {}).span("scheduler.schedule", 10, 30, step=0)
    core.span("scheduler.update", 50, 70, step=0).close()
    TraceWriter(tmp_path, WORKER, ["worker"], parent=CORE).span("worker.execute", 0, 60, step=0).close()
    index = Index(timeline.read(tmp_path))
    assert [cause.name for cause in causes(index, NO_HOPS, {WORKER}, piece(0, 60)) if len(cause.rows)] == ["update"]
