"""Runs a sweep's arms and trials and appends what they measured to the run's folder.

Engines are started two at a time where the machine allows it, because a start keeps one core busy for half a minute.
All but the one being measured are then frozen (SIGSTOP): nothing is timed while another engine starts, stops or runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from offline.engine.process import start_process
from offline.expected.tokens import CacheConfig, PrefixCache
from offline.records.lines import StartRecord, StopRecord, TrialRecord
from offline.records.resolved import Resolved
from offline.records.runfolder import RunFolder
from offline.spec.grid import Arm, Cell, Trial, arm_order, seed_of, trial_order
from offline.spec.prompts import workload
from offline.spec.spec import Spec
from offline.sweep.progress import SweepProgress
from probes.jsonform import read_record
from probes.processes.dialogue import Message
from probes.processes.engine import EngineFailed, EngineProcess

WARM_UP_S = 3.0
WARM_UP_ROUNDS = 10


@dataclass
class Runner:
    """One run in progress: what is asked, the folder it goes to, and what has been recorded so far."""

    spec: Spec
    grid: list[Arm]
    folder: RunFolder
    model: Path | str
    time_limit_s: float
    together: int = 1  # engines started at once
    measured: set[tuple[str, int]] = field(default_factory=set)
    engines: int = 0  # engine starts, counted over resumes
    failed: bool = False
    given_up: set[str] = field(default_factory=set)

    def run(self, progress: SweepProgress) -> None:
        """All passes, all arms; a refused or failed arm does not hold up the others."""
        for number, order in enumerate(arm_order(self.spec, self.grid)):
            todo = [(arm, self.missing(arm, number)) for arm in order]
            todo = [(arm, trials) for arm, trials in todo if trials and arm.id not in self.given_up]
            for first in range(0, len(todo), self.together):
                self.run_together(todo[first : first + self.together], progress)

    def to_start(self) -> int:
        """How many engines have to be started for what is not on disk yet."""
        orders = enumerate(arm_order(self.spec, self.grid))
        return sum(bool(self.missing(arm, number)) for number, order in orders for arm in order)

    def missing(self, arm: Arm, number: int) -> list[Trial]:
        """The trials of an arm in a pass that are not on disk yet."""
        return [t for t in trial_order(self.spec, arm, number) if (arm.cell_id(t.cell), t.index) not in self.measured]

    def run_together(self, group: list[tuple[Arm, list[Trial]]], progress: SweepProgress) -> None:
        """Start the engines of some arms at once, then measure one after the other."""
        with contextlib.ExitStack() as stack:
            waiting = []
            for arm, trials in group:
                self.engines += 1
                progress.arm(arm, len(trials))
                process = stack.enter_context(start_process(self.folder.log(arm.id)))
                process.send({"do": "start", "settings": {**arm.settings, "model": str(self.model)}})
                waiting.append((arm, trials, process, self.engines))
            ready = []
            for arm, trials, process, engine in waiting:
                with self.giving_up(arm, engine, process, progress, starting=True):
                    ready.append((arm, trials, process, engine, self.started(arm, process, engine, len(group))))
            for _, _, process, _, _ in ready[1:]:
                process.freeze()
            for arm, trials, process, engine, start in ready:
                process.thaw()
                progress.ready(arm, start)
                with self.giving_up(arm, engine, process, progress):
                    self.run_trials(arm, trials, process, engine, start, progress)
                    process.stop()

    def started(self, arm: Arm, process: EngineProcess, engine: int, together: int) -> StartRecord:
        """Wait for an engine, check that the step log is in its core, and record what it resolved."""
        identity = {"arm": arm.id, "engine": engine, "name": arm.name, "started_together": together}
        start = read_record(StartRecord, identity | process.receive(self.time_limit_s))
        if not start.step_log:
            # A watcher proves that it was there: without it there is no batch and no step to trust.
            missing = ", ".join(start.unhooked) or "the plugin was not loaded: is enginescope installed here?"
            raise EngineFailed(f"the step log is not in the engine's core ({missing})")
        self.folder.append(start)
        return start

    @contextlib.contextmanager
    def giving_up(
        self, arm: Arm, engine: int, process: EngineProcess, progress: SweepProgress, starting: bool = False
    ) -> Iterator[None]:
        """Record an arm that was refused or failed, and make sure that nothing of it is left.

        Only an engine that is starting can refuse a configuration; whatever it raises later is a failure.
        """
        try:
            yield
        except EngineFailed as failure:
            process.kill()
            status = "refused" if failure.refused and starting else "failed"
            self.failed |= status == "failed"
            self.given_up.add(arm.id)
            self.folder.append(StopRecord(arm.id, engine, status, str(failure)))
            left = [len(self.missing(arm, number)) for number in range(self.spec.passes)]
            progress.given_up(f"{status}: {arm.name}: {failure}", sum(left), max(0, sum(map(bool, left)) - 1))

    def run_trials(
        self,
        arm: Arm,
        trials: list[Trial],
        process: EngineProcess,
        engine: int,
        start: StartRecord,
        progress: SweepProgress,
    ) -> None:
        """Warm the cells up, then run the trials, interleaved as they come."""
        cells = list(dict.fromkeys(trial.cell for trial in trials))
        warm_up(self.spec, arm, cells, process, engine, self.time_limit_s)
        cache = prefix_cache(start.resolved)
        for trial in trials:
            answer = process.ask({"do": "trial", "cell": asdict(trial.cell), "seed": trial.seed}, self.time_limit_s)
            expected = expected_tokens(cache, trial.cell, trial.seed, start.vocabulary)
            record = trial_record(trial, engine, trial.index // self.spec.repeats, answer, expected)
            self.folder.append(record)
            self.measured.add((record.cell, trial.index))
            progress.trial(trial, record.output_tok_s)


def warm_up(spec: Spec, arm: Arm, cells: list[Cell], process: EngineProcess, engine: int, limit_s: float) -> None:
    """Run each cell at its own shape, unmeasured: at least once, and round after round until the engine has settled.

    A fresh engine gets faster over its first ten batches or so, which is seconds of work on a small model.
    """
    began = time.monotonic()
    for number in range(WARM_UP_ROUNDS):
        if number and time.monotonic() - began > WARM_UP_S:
            break
        for cell in cells:
            # An index that no trial has: warm-up prompts are never measured, in no engine of this run.
            seed = seed_of(spec, arm, cell, -1 - engine * WARM_UP_ROUNDS - number)
            process.ask({"do": "warm_up", "cell": asdict(cell), "seed": seed}, limit_s)


def trial_record(trial: Trial, engine: int, group: int, answer: Message, expected: int | None) -> TrialRecord:
    """Which trial it was, and everything raw that the engine's process measured."""
    identity = {"arm": trial.arm.id, "cell": trial.arm.cell_id(trial.cell), "trial": trial.index, "seed": trial.seed}
    tokens = trial.cell.batch_size * trial.cell.output_len
    identity |= {"engine": engine, "group": group, "round": trial.index}
    identity |= {"asked_tokens": tokens, "expected_cached_tokens": expected}
    return read_record(TrialRecord, identity | answer)


def prefix_cache(resolved: Resolved) -> PrefixCache | None:
    """The arithmetic's own cache for an engine's resolved settings, or None where it does not apply."""
    block_size = resolved.effective_block_size or resolved.block_size
    limits = (resolved.max_num_batched_tokens, resolved.max_num_seqs, resolved.max_model_len)
    if resolved.speculative is not None or not resolved.kv_blocks or resolved.scheduling_policy != "fcfs":
        return None
    if not block_size or None in limits:
        return None
    config = CacheConfig(
        block_size=block_size,
        num_blocks=resolved.kv_blocks,
        enable_prefix_caching=bool(resolved.enable_prefix_caching),
        max_num_batched_tokens=resolved.max_num_batched_tokens or 0,
        max_num_seqs=resolved.max_num_seqs or 0,
        max_model_len=resolved.max_model_len or 0,
        enable_chunked_prefill=bool(resolved.enable_chunked_prefill),
        long_prefill_token_threshold=resolved.long_prefill_token_threshold or 0,
        reserve_full_isl=bool(resolved.scheduler_reserve_full_isl),
        watermark=resolved.watermark or 0.0,
    )
    return PrefixCache(config)


def expected_tokens(cache: PrefixCache | None, cell: Cell, seed: int, vocabulary: int) -> int | None:
    """Cached tokens that a trial should find, by arithmetic from its prompts; see `offline.expected`."""
    if cache is None:
        return None
    work = workload(cell, seed, vocabulary)
    cache.reset()
    if work.primer is not None:
        cache.run([work.primer], 1)
    return cache.run(work.prompts, cell.output_len).total
