"""A group: engines that are alive together, all of them frozen but the one whose turn it is.

Nothing is timed while one of them starts or stops. Two may start at a time, since a start keeps one core busy for
half a minute.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from offline.engine.process import start_process
from offline.engine.threads import shared_threads
from offline.environments.environment import Environment
from offline.expected.tokens import PrefixCache
from offline.records.lines import StartRecord
from offline.records.runfolder import RunFolder
from offline.spec.grid import Arm
from offline.spec.models import Models
from offline.sweep.progress import SweepProgress
from offline.sweep.trial import prefix_cache
from probes.jsonform import read_record
from probes.processes.engine import EngineFailed, EngineProcess
from tracing.record.switched import SwitchedTrace

STARTED_TOGETHER = 2 if len(os.sched_getaffinity(0)) > 1 else 1


@dataclass(frozen=True)
class LiveEngine:
    """An engine that is up; `cache` predicts its prefix cache where the arithmetic holds for it."""

    arm: Arm
    number: int
    process: EngineProcess
    start: StartRecord
    cache: PrefixCache | None
    trace: SwitchedTrace | None = None  # where its trials can be recorded


@dataclass(frozen=True)
class Failure:
    """An engine that is gone: whose it was, in its own words, and whether it was still starting."""

    arm: Arm
    number: int
    error: EngineFailed
    starting: bool


@dataclass
class Group:
    """The engines of one group, by arm; a context manager, so that nothing of them outlives the block.

    `interleaved`: they take turns, and all but one are frozen. A failed engine leaves the group, and `on_failure` hears
    of it; the others continue.
    """

    number: int
    folder: RunFolder
    models: Models
    limit_s: float
    interleaved: bool
    on_failure: Callable[[Failure], None]
    traced: bool = False
    environments: Mapping[str, Environment] = field(default_factory=dict)
    engines: dict[str, LiveEngine] = field(default_factory=dict)
    _processes: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._processes.__exit__(kind, error, at)

    def start(self, arms: Sequence[Arm], first_number: int, progress: SweepProgress) -> None:
        """Start an engine of each arm, numbered from `first_number` on; where they take turns it is frozen."""
        width = STARTED_TOGETHER if self.interleaved else 1
        for first in range(0, len(arms), width):
            self._start_together(arms[first : first + width], first_number + first, progress)

    @contextlib.contextmanager
    def turn(self, engine: LiveEngine) -> Iterator[None]:
        """Let one engine run for the block; where it fails, it is gone after it."""
        if self.interleaved:
            engine.process.thaw()
        with self._failing(engine.arm, engine.number, engine.process, starting=False):
            yield
            if self.interleaved:
                engine.process.freeze()

    def stop(self) -> None:
        """Have all engines shut down, at the same time."""
        for engine in self.engines.values():
            engine.process.thaw()
            engine.process.hang_up()
        for engine in self.engines.values():
            engine.process.stop()

    def _start_together(self, arms: Sequence[Arm], first_number: int, progress: SweepProgress) -> None:
        starting = []
        for number, arm in enumerate(arms, first_number):
            progress.arm(arm)
            trace = self._trace(arm, number) if self.traced else None
            process = start_process(
                self.folder.log(arm.id),
                environment=shared_threads(arm.arguments) | (trace.environment if trace else {}),
                inside=self.environments.get(arm.environment),
            )
            self._processes.enter_context(process)
            process.send({"do": "start", "settings": {**arm.arguments, "model": str(self.models.of(arm.settings))}})
            starting.append((arm, number, process, trace))
        for arm, number, process, trace in starting:
            with self._failing(arm, number, process, starting=True):
                start = self._started(arm, number, process, len(starting))
                self.engines[arm.id] = LiveEngine(arm, number, process, start, prefix_cache(arm, start), trace)
                progress.ready(arm, start)
        if self.interleaved:
            for arm in arms:
                if arm.id in self.engines:
                    self.engines[arm.id].process.freeze()

    def _trace(self, arm: Arm, number: int) -> SwitchedTrace:
        """A start's trace folder, which is completed once its engine is gone.

        A start of this number that was killed before it had a record may have left one.
        """
        folder = self.folder.trace(number)
        shutil.rmtree(folder, ignore_errors=True)
        return self._processes.enter_context(SwitchedTrace(folder, f"{arm.name}, start {number}"))

    def _started(self, arm: Arm, number: int, process: EngineProcess, together: int) -> StartRecord:
        """Wait for an engine, check that the step log is in its core, and record what it resolved."""
        identity = {"arm": arm.id, "engine": number, "name": arm.name, "started_together": together}
        start = read_record(StartRecord, identity | process.receive(self.limit_s))
        if not start.step_log:
            # A watcher proves that it was there: without it there is no batch and no step to trust.
            missing = ", ".join(start.unhooked) or "the plugin was not loaded: is enginescope installed here?"
            raise EngineFailed(f"the step log is not in the engine's core ({missing})")
        self.folder.append(start)
        return start

    @contextlib.contextmanager
    def _failing(self, arm: Arm, number: int, process: EngineProcess, starting: bool) -> Iterator[None]:
        try:
            yield
        except EngineFailed as error:
            process.kill()
            self.engines.pop(arm.id, None)
            self.on_failure(Failure(arm, number, error, starting))
