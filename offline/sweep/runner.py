"""Runs a sweep's passes and appends what they measured to the run's folder."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from offline.environments.environment import Environment
from offline.records.lines import StopRecord
from offline.records.runfolder import RunFolder
from offline.spec.grid import Arm, Trial
from offline.spec.models import Models
from offline.spec.passes import Pass, reference_of
from offline.spec.plan import Plan
from offline.spec.spec import Spec
from offline.sweep.devices import DeviceWatch
from offline.sweep.group import Failure, Group, LiveEngine
from offline.sweep.progress import SweepProgress
from offline.sweep.trial import ask_answers, expected_tokens, run_timed, settle, traced_record, trial_record, warm_up


@dataclass
class Taken:
    """How long so many engines, or trials, took together."""

    seconds: float = 0.0
    count: int = 0

    def add(self, seconds: float, count: int) -> None:
        """So many more."""
        self.seconds, self.count = self.seconds + seconds, self.count + count

    def of(self, count: int) -> float:
        """What another number of them takes, each as long as these."""
        return count * self.seconds / max(1, self.count)


@dataclass
class Runner:
    """One run in progress: what is asked, the folder it goes to, and what has been recorded so far.

    `engines` and `groups` count over resumes; `measured` has the cell and index of each trial on disk, `traced`
    those of the recorded ones.
    """

    plan: Plan
    folder: RunFolder
    models: Models
    time_limit_s: float
    measured: set[tuple[str, int]] = field(default_factory=set)
    traced: set[tuple[str, int]] = field(default_factory=set)
    engines: int = 0
    groups: int = 0
    starts: Taken = field(default_factory=Taken)  # the last group's engines, to start and warm up
    trials: Taken = field(default_factory=Taken)  # its trials
    answered: set[str] = field(default_factory=set)  # arms whose answers are on disk
    environments: Mapping[str, Environment] = field(default_factory=dict)  # those that arms name
    devices: DeviceWatch = field(default_factory=DeviceWatch)
    failed: bool = False
    given_up: set[str] = field(default_factory=set)

    @property
    def spec(self) -> Spec:
        """What is asked."""
        return self.plan.spec

    def run(self, progress: SweepProgress) -> None:
        """All passes; a refused or failed arm does not hold up the others."""
        for each in self.plan.passes():
            shared = self.with_reference(each)
            added = [trial for trial in [*self.todo(shared), *self.traces(shared)] if trial.arm not in each.arms]
            progress.more(len(added), len(arms_of(added)))
            self.run_group(iter([shared]), progress)

    def with_reference(self, each: Pass) -> Pass:
        """A pass with another reference arm where not all arms fit and the one that all passes share was given up.

        Without one, the arms of one pass could not be compared with those of another. The one that now is the reference
        gets company where it would be alone.
        """
        present = [arm for arm in each.arms if arm.id not in self.given_up]
        if not each.interleaved or not present or present[0] is each.arms[0]:
            return each
        left = [arm for arm in self.plan.grid if arm.id not in self.given_up]
        others = [arm for arm in left if arm not in present]
        shared = len(present) > 1 and reference_of(left) in present
        return each if shared or not others else replace(each, arms=(reference_of(others), *present))

    def next_pass(self) -> int:
        """The first number that no pass has, planned or measured."""
        numbers = {index // self.spec.repeats for _, index in self.measured}
        return max(len(self.plan.passes()), 1 + max(numbers, default=-1))

    def missing(self, each: Pass) -> list[Trial]:
        """The trials of a pass that are not on disk yet, in order."""
        return missing((trial for one in each.rounds(self.spec) for trial in one), self.measured)

    def untraced(self, each: Pass) -> list[Trial]:
        """The trials of a pass that are still to be recorded, in order."""
        return missing(each.traced(self.spec), self.traced)

    def lacking(self) -> list[list[Trial]]:
        """What each planned pass lacks: its timed trials, then those that are to be recorded."""
        return [[*self.missing(each), *self.untraced(each)] for each in self.plan.passes()]

    def run_group(self, passes: Iterator[Pass], progress: SweepProgress) -> None:
        """Start engines for what the first pass still lacks, and measure it: all in turns, or one after another.

        Further passes run in the same engines, where these take turns, and recorded trials after all others.
        """
        first = next(passes)
        trials, traces = self.todo(first), self.traces(first)
        all_arms = arms_of([*trials, *traces])
        if not all_arms:
            return
        self.groups, self.starts, self.trials = self.groups + 1, Taken(), Taken()
        for arms in [all_arms] if first.interleaved else [[arm] for arm in all_arms]:
            with self.new_group(first.interleaved, progress) as group:
                own, own_traces = ([trial for trial in each if trial.arm in arms] for each in (trials, traces))
                self.start(group, arms, [*own, *own_traces], progress)
                self.run_trials(group, own, progress)
                for each in passes if first.interleaved else ():
                    self.run_trials(group, self.todo(each), progress)
                self.run_traced(group, own_traces, progress)
                group.stop()

    def todo(self, each: Pass) -> list[Trial]:
        """What a pass lacks, of arms that were not given up."""
        return self.kept(self.missing(each))

    def traces(self, each: Pass) -> list[Trial]:
        """What of a pass is still to be recorded, of arms that were not given up."""
        return self.kept(self.untraced(each))

    def kept(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those of arms that were not given up."""
        return [trial for trial in trials if trial.arm.id not in self.given_up]

    def new_group(self, interleaved: bool, progress: SweepProgress) -> Group:
        """The group of the present number, without engines."""
        return Group(
            number=self.groups,
            folder=self.folder,
            models=self.models,
            limit_s=self.time_limit_s,
            interleaved=interleaved,
            on_failure=lambda failure: self.give_up(failure, progress),
            traced=self.spec.trace,
            environments=self.environments,
        )

    def start(self, group: Group, arms: Sequence[Arm], trials: Sequence[Trial], progress: SweepProgress) -> None:
        """Start an engine of each arm, and warm each up."""
        began = time.monotonic()
        first, self.engines = self.engines + 1, self.engines + len(arms)
        group.start(arms, first, progress)
        for engine in list(group.engines.values()):
            cells = list(dict.fromkeys(trial.cell for trial in trials if trial.arm == engine.arm))
            with group.turn(engine):
                warm_up(self.spec, engine.arm, cells, engine.process, engine.number, self.time_limit_s)
                if engine.arm.may_answer_otherwise and engine.arm.id not in self.answered:
                    answers = ask_answers(engine.process, engine.arm, engine.start, self.time_limit_s)
                    self.folder.append(answers)
                    self.answered.add(engine.arm.id)
        self.starts.add(time.monotonic() - began, len(arms))

    def run_trials(self, group: Group, trials: Sequence[Trial], progress: SweepProgress) -> None:
        """Run the trials as they come, each where its engine is still alive."""
        for trial in trials:
            if live := group.engines.get(trial.arm.id):
                began = time.monotonic()
                with group.turn(live):
                    self.run_trial(group, live, trial, progress)
                self.trials.add(time.monotonic() - began, 1)

    def run_trial(self, group: Group, engine: LiveEngine, trial: Trial, progress: SweepProgress) -> None:
        """One trial, after an untimed one where the engine was frozen, onto the disk."""
        if group.interleaved:
            settle(self.spec, trial, engine.process, self.time_limit_s)
        answer = self.devices.trial(lambda: run_timed(engine.process, trial, self.time_limit_s))
        expected = expected_tokens(engine.cache, trial.cell, trial.seed, engine.start.vocabulary)
        record = trial_record(trial, engine.number, group.number, answer, expected, self.devices.uses)
        self.folder.append(record)
        self.measured.add((record.cell, trial.index))
        progress.trial(trial, record.output_tok_s)

    def run_traced(self, group: Group, trials: Sequence[Trial], progress: SweepProgress) -> None:
        """Run the recorded trials, each where its engine is still alive, and read at once what was recorded."""
        for trial in trials:
            if (live := group.engines.get(trial.arm.id)) and live.trace:
                with group.turn(live):
                    if group.interleaved:
                        settle(self.spec, trial, live.process, self.time_limit_s)
                    with live.trace.recording():
                        answer = run_timed(live.process, trial, self.time_limit_s)
                    record = traced_record(trial, live.number, group.number, answer, self.folder)
                    self.folder.append(record)
                    self.traced.add((record.cell, record.start))
                    progress.traced(trial)

    def give_up(self, failure: Failure, progress: SweepProgress) -> None:
        """Record an arm that was refused or failed; it gets no further engine in this run.

        Only an engine that is starting can refuse a configuration; whatever it raises later is a failure.
        """
        arm, refused = failure.arm, failure.error.refused and failure.starting
        status = "refused" if refused else "failed"
        self.failed |= not refused
        self.given_up.add(arm.id)
        self.folder.append(StopRecord(arm.id, failure.number, status, str(failure.error)))
        left = [sum(trial.arm == arm for trial in trials) for trials in self.lacking()]
        engines = max(0, sum(map(bool, left)) - 1)
        progress.given_up(f"{status}: {arm.name}: {failure.error}", sum(left), engines)


def missing(trials: Iterable[Trial], done: Container[tuple[str, int]]) -> list[Trial]:
    """The trials whose cell and index are not among those that are done."""
    return [trial for trial in trials if (trial.arm.cell_id(trial.cell), trial.index) not in done]


def arms_of(trials: Sequence[Trial]) -> list[Arm]:
    """The arms of some trials, in order, each once."""
    return list({trial.arm.id: trial.arm for trial in trials}.values())
