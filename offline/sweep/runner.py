"""Runs a sweep's passes and appends what they measured to the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offline.records.lines import StopRecord
from offline.records.runfolder import RunFolder
from offline.spec.grid import Arm, Trial
from offline.spec.passes import Pass
from offline.spec.plan import Plan
from offline.spec.spec import Spec
from offline.sweep.group import Failure, Group, LiveEngine
from offline.sweep.progress import SweepProgress
from offline.sweep.trial import expected_tokens, run_timed, settle, trial_record, warm_up


@dataclass
class Runner:
    """One run in progress: what is asked, the folder it goes to, and what has been recorded so far.

    `engines` and `groups` count over resumes; `measured` has the cell and index of each trial on disk.
    """

    plan: Plan
    folder: RunFolder
    model: Path | str
    time_limit_s: float
    measured: set[tuple[str, int]] = field(default_factory=set)
    engines: int = 0
    groups: int = 0
    failed: bool = False
    given_up: set[str] = field(default_factory=set)

    @property
    def spec(self) -> Spec:
        """What is asked."""
        return self.plan.spec

    def run(self, progress: SweepProgress) -> None:
        """All passes; a refused or failed arm does not hold up the others."""
        for each in self.plan.passes():
            self.run_pass(each, progress)

    def missing(self, each: Pass) -> list[Trial]:
        """The trials of a pass that are not on disk yet, in order."""
        trials = [trial for one in each.rounds(self.spec) for trial in one]
        return [trial for trial in trials if (trial.arm.cell_id(trial.cell), trial.index) not in self.measured]

    def to_start(self) -> int:
        """How many engines have to be started for what is not on disk yet."""
        return sum(len(arms_of(self.missing(each))) for each in self.plan.passes())

    def run_pass(self, each: Pass, progress: SweepProgress) -> None:
        """Start engines for what a pass still lacks, and measure it: all in turns, or one engine after another."""
        trials = [trial for trial in self.missing(each) if trial.arm.id not in self.given_up]
        todo = arms_of(trials)
        if not todo:
            return
        self.groups += 1
        for arms in [todo] if each.interleaved else [[arm] for arm in todo]:
            own = [trial for trial in trials if trial.arm in arms]
            group = Group(
                number=self.groups,
                folder=self.folder,
                model=self.model,
                limit_s=self.time_limit_s,
                interleaved=each.interleaved,
                on_failure=lambda failure: self.give_up(failure, progress),
            )
            with group:
                first, self.engines = self.engines + 1, self.engines + len(arms)
                group.start(arms, first, progress)
                self.run_trials(group, own, progress)
                group.stop()

    def run_trials(self, group: Group, trials: Sequence[Trial], progress: SweepProgress) -> None:
        """Warm each engine up, then run the trials as they come, each where its engine is still alive."""
        for engine in list(group.engines.values()):
            cells = list(dict.fromkeys(trial.cell for trial in trials if trial.arm == engine.arm))
            with group.turn(engine):
                warm_up(self.spec, engine.arm, cells, engine.process, engine.number, self.time_limit_s)
        for trial in trials:
            if live := group.engines.get(trial.arm.id):
                with group.turn(live):
                    self.run_trial(group, live, trial, progress)

    def run_trial(self, group: Group, engine: LiveEngine, trial: Trial, progress: SweepProgress) -> None:
        """One trial, after an untimed one where the engine was frozen, onto the disk."""
        if group.interleaved:
            settle(self.spec, trial, engine.process, self.time_limit_s)
        answer = run_timed(engine.process, trial, self.time_limit_s)
        expected = expected_tokens(engine.cache, trial.cell, trial.seed, engine.start.vocabulary)
        record = trial_record(trial, engine.number, group.number, answer, expected)
        self.folder.append(record)
        self.measured.add((record.cell, trial.index))
        progress.trial(trial, record.output_tok_s)

    def give_up(self, failure: Failure, progress: SweepProgress) -> None:
        """Record an arm that was refused or failed; it gets no further engine in this run.

        Only an engine that is starting can refuse a configuration; whatever it raises later is a failure.
        """
        arm, refused = failure.arm, failure.error.refused and failure.starting
        status = "refused" if refused else "failed"
        self.failed |= not refused
        self.given_up.add(arm.id)
        self.folder.append(StopRecord(arm.id, failure.number, status, str(failure.error)))
        left = [sum(trial.arm == arm for trial in self.missing(each)) for each in self.plan.passes()]
        engines = max(0, sum(map(bool, left)) - 1)
        progress.given_up(f"{status}: {arm.name}: {failure.error}", sum(left), engines)


def arms_of(trials: Sequence[Trial]) -> list[Arm]:
    """The arms of some trials, in order, each once."""
    return list({trial.arm.id: trial.arm for trial in trials}.values())
