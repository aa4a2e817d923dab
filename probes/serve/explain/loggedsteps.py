"""vLLM's iteration lines (`--enable-logging-iteration-details`) as steps: by kind, by batch size, and the slow ones."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from dataclasses import dataclass

from probes.serve.explain.durations import Durations
from probes.serve.explain.logline import LogLine

STEP = re.compile(
    r"(?:Engine (\d+): )?Iteration\((\d+)\): (\d+) context requests, (\d+) context tokens, "
    r"(\d+) generation requests, (\d+) generation tokens, iteration elapsed time: ([\d.]+) ms( \(dummy\))?"
)
DP_RANK = re.compile(r"_DP(\d+)|^EngineCore_(\d+)$")
KINDS = ("prefill", "mixed", "decode", "dummy")
SLOW = 3  # times the median of steps of the same kind and batch size
CANDIDATES = 5  # of each such group, to look for slow ones in the end
Group = tuple[str, int]  # kind, and the upper end of the range of batch sizes


@dataclass(frozen=True, slots=True, order=True)
class LoggedStep:
    """A step as its line tells it; `time_s` as in `LogLine`, `iteration` counts an engine's steps."""

    elapsed_ms: float
    time_s: float
    engine: int
    iteration: int
    context_requests: int
    context_tokens: int
    generation_requests: int
    generation_tokens: int
    dummy: bool = False

    @property
    def kind(self) -> str:
        """Prefill, decode, both at once, or one without work that a data-parallel rank runs along."""
        if self.dummy:
            return "dummy"
        if not self.context_requests:
            return "decode"
        return "mixed" if self.generation_requests else "prefill"

    @property
    def requests(self) -> int:
        """The batch size."""
        return self.context_requests + self.generation_requests


class LoggedSteps:
    """All steps of a log, by engine and kind, and by kind and range of batch sizes."""

    def __init__(self) -> None:
        self.by_kind: dict[tuple[int, str], Durations] = defaultdict(Durations)
        self.by_batch: dict[Group, Durations] = defaultdict(Durations)
        self.tokens: dict[tuple[int, str], int] = defaultdict(int)
        self._slowest: dict[Group, list[LoggedStep]] = defaultdict(list)

    @property
    def count(self) -> int:
        """How many steps there are."""
        return sum(each.count for each in self.by_kind.values())

    def read(self, line: LogLine) -> bool:
        """Take a line in, if it is an iteration's."""
        step = step_of(line) if "Iteration(" in line.words else None
        if step is None:
            return False
        kind = step.kind
        group = (kind, batch_range(step.requests))
        self.by_kind[step.engine, kind].add(step.elapsed_ms)
        self.by_batch[group].add(step.elapsed_ms)
        self.tokens[step.engine, kind] += step.context_tokens + step.generation_tokens
        slowest = self._slowest[group]
        (heapq.heappush if len(slowest) < CANDIDATES else heapq.heappushpop)(slowest, step)
        return True

    def slow(self) -> list[tuple[LoggedStep, float]]:
        """The slowest steps, and how many times the median of their kind and batch size each took; the worst first."""
        slow: list[tuple[LoggedStep, float]] = []
        for group, steps in self._slowest.items():
            median = self.by_batch[group].quantile(0.5)
            slow += [(step, step.elapsed_ms / median) for step in steps if step.elapsed_ms > SLOW * median > 0]
        return sorted(slow, key=lambda pair: -pair[1])

    def slow_count(self) -> int:
        """How many steps took more than `SLOW` times the median of their kind and batch size."""
        return sum(each.above(SLOW * each.quantile(0.5)) for each in self.by_batch.values())


def step_of(line: LogLine) -> LoggedStep | None:
    """The step that a line tells of."""
    match = STEP.search(line.words)
    if match is None:
        return None
    engine, *counts, elapsed, dummy = match.groups()
    iteration, context, context_tokens, generation, generation_tokens = map(int, counts)
    number = int(engine) if engine else engine_of(line.process)
    sizes = (context, context_tokens, generation, generation_tokens)
    return LoggedStep(float(elapsed), line.time_s or 0.0, number, iteration, *sizes, bool(dummy))


def engine_of(process: str) -> int:
    """The number of the engine (its data-parallel rank) that a process belongs to; 0 where its name has none."""
    match = DP_RANK.search(process)
    return int(match[1] or match[2]) if match else 0


def batch_range(requests: int) -> int:
    """The upper end of the range that a batch size is counted in: 1, 2, 4, 8, 16, …"""
    return 1 << max(requests - 1, 0).bit_length()
