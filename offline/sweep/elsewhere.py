"""A sweep on the nodes of a Ray cluster: an arm's start is measured on one of them, and its records come back."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from offline.cluster.conditions import NodeConditions, conditions_here, models_here, unlike
from offline.cluster.files import read_files, write_files
from offline.cluster.nodes import ClusterNode, RayCluster
from offline.cluster.spread import PlaceLost, spread
from offline.records.lines import AnswersRecord, Record, StartRecord, StopRecord, TrialRecord
from offline.records.runfolder import RunFolder
from offline.records.traced import TracedRecord
from offline.spec.models import recorded_models
from offline.spec.passes import Pass
from offline.spec.plan import Plan
from offline.sweep.group import Failure
from offline.sweep.progress import SweepProgress
from offline.sweep.runner import Runner
from probes.processes.engine import EngineFailed


@dataclass(frozen=True)
class ArmElsewhere:
    """A pass over one arm, to be measured on a node; `measured`, `traced` and `answered` are on disk already."""

    plan: Plan
    one: Pass
    model_paths: str
    limit_s: float
    engine: int
    group: int
    measured: frozenset[tuple[str, int]]
    traced: frozenset[tuple[str, int]]
    answered: frozenset[str]


@dataclass(frozen=True)
class GatheredArm:
    """What came of it: its records, its log, its trace's files by their names, and what the node is."""

    records: tuple[Record, ...]
    log: bytes
    trace: dict[str, bytes]
    node: NodeConditions


def measured_arm(job: ArmElsewhere) -> GatheredArm:
    """Measure an arm's start on this node, in a folder that goes when its files are read."""
    models = models_here(recorded_models, job.model_paths)
    with tempfile.TemporaryDirectory(prefix="enginescope-") as path:
        folder = RunFolder(Path(path))
        runner = Runner(job.plan, folder, models, job.limit_s, set(job.measured), set(job.traced))
        runner.engines, runner.groups, runner.answered = job.engine - 1, job.group - 1, set(job.answered)
        progress = SweepProgress(0, 0, 1, 0.0, Console(file=io.StringIO()))
        runner.run_group(iter([job.one]), progress)
        records, log = tuple(folder.records()), folder.log(job.one.arms[0].id)
        folder.close()
        words = log.read_bytes() if log.exists() else b""
        return GatheredArm(records, words, read_files(folder.path / "trace"), conditions_here(models.mark()))


@dataclass
class ClusterRunner(Runner):
    """Has each arm's start measured on a node, one engine at a time there; one whose node is lost, again on another."""

    cluster: RayCluster = field(kw_only=True)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, progress: SweepProgress) -> None:
        """All passes, each arm of each by itself."""

        def measure(task: tuple[Pass, int], node: ClusterNode) -> None:
            self._measure(*task, node, progress)

        spread(self.cluster.nodes, self._tasks(), measure, self.cluster.stop)

    def _tasks(self) -> Iterator[tuple[Pass, int]]:
        """Each arm of each pass that lacks something, with the number of the pass's group."""
        for each in self.plan.passes():
            self.groups += 1
            for arm in each.arms:
                one = Pass(each.number, (arm,), interleaved=False)
                if self.todo(one) or self.traces(one):
                    yield one, self.groups

    def _measure(self, one: Pass, group: int, node: ClusterNode, progress: SweepProgress) -> None:
        (arm,) = one.arms
        with self.lock:
            if arm.id in self.given_up:
                return
            self.engines += 1
            job = self._job(one, group)
            progress.arm(arm)
        try:
            result = self.cluster.call(node, measured_arm, job)
        except PlaceLost:
            with self.lock:
                progress.given_up(f"{arm.name}: {node.name} was lost; again on another", trials=0, engines=-1)
            raise
        except EngineFailed:  # the run was ended
            return
        with self.lock:
            self._gathered(one, node, result, progress)

    def _job(self, one: Pass, group: int) -> ArmElsewhere:
        on_disk = (frozenset(self.measured), frozenset(self.traced), frozenset(self.answered))
        return ArmElsewhere(self.plan, one, self.models.path_text, self.time_limit_s, self.engines, group, *on_disk)

    def _gathered(self, one: Pass, node: ClusterNode, result: GatheredArm, progress: SweepProgress) -> None:
        """Keep what a start left, and count it."""
        (arm,) = one.arms
        with self.folder.log(arm.id).open("ab") as log:
            log.write(result.log)
        write_files(self.folder.path / "trace", result.trace)
        for record in result.records:
            self._keep(record, one, node, progress)
        run = self.folder.read_run()
        differing = unlike(node, run, result.node)
        if set(differing) - set(run.elsewhere):
            self.folder.write_run(replace(run, elsewhere=tuple(dict.fromkeys([*run.elsewhere, *differing]))))

    def _keep(self, record: Record, one: Pass, node: ClusterNode, progress: SweepProgress) -> None:
        (arm,) = one.arms
        if isinstance(record, StopRecord):
            refused = record.status == "refused"
            error = EngineFailed(record.reason, refused=refused)
            self.give_up(Failure(arm, record.engine, error, starting=refused), progress)
            return
        self.folder.append(replace(record, node=node.name) if isinstance(record, StartRecord) else record)
        if isinstance(record, StartRecord):
            progress.ready(arm, record)
        elif isinstance(record, TrialRecord):
            self.measured.add((record.cell, record.trial))
            trials = (trial for each in one.rounds(self.spec) for trial in each)
            ours = next(each for each in trials if (arm.cell_id(each.cell), each.index) == (record.cell, record.trial))
            progress.trial(ours, record.output_tok_s)
        elif isinstance(record, TracedRecord):
            self.traced.add((record.cell, record.start))
            progress.traced(next(each for each in one.traced(self.spec) if arm.cell_id(each.cell) == record.cell))
        elif isinstance(record, AnswersRecord):
            self.answered.add(arm.id)
