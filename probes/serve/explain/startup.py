"""The start of a server by its log: phases with their times, what it found, and whether it got to answer.

A phase lasts from the line that begins it to the line that begins the next; where a line states how long something
took, that is the duration of the phase that ends there. Several processes (ranks) may state it: the slowest counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from probes.serve.explain.logline import LogLine
from probes.serve.process import FIRST_PHASE, PHASES

BEGINS = tuple((re.compile(pattern), name) for pattern, name in PHASES)
ORDER = {name: number for number, (_, name) in enumerate(PHASES, 1)}
# What a line says took how long. Names of `PHASES` give that phase its duration, the others are parts or sums.
STATED = (
    (re.compile(r"Time spent downloading weights for .*: ([\d.]+) seconds"), "downloads the weights"),
    (re.compile(r"Loading weights took ([\d.]+) seconds"), "loads the weights"),
    (re.compile(r"Model loading took .*?([\d.]+) seconds"), "the model loaded, in all"),
    (re.compile(r"Dynamo bytecode transform time: ([\d.]+) s"), "traces the model (Dynamo)"),
    (re.compile(r"Compiling a graph for .* takes ([\d.]+) s"), "compiles a graph (Inductor)"),
    (re.compile(r"torch\.compile (?:takes|took) ([\d.]+) s in total"), "compiles"),
    (
        re.compile(r"(?:Memory profiling takes|Initial profiling/warmup run took) ([\d.]+) s"),
        "measures the memory left",
    ),
    (re.compile(r"Graph capturing finished in (\d+) secs"), "captures CUDA graphs"),
    (re.compile(r"init engine \(.*\) took ([\d.]+) s"), "profile, KV cache and warm-up, in all"),
)
FACTS = (
    (re.compile(r"API server version ([\w.+-]+)|LLM engine \(v([\w.+-]+)\)"), "vLLM"),
    (re.compile(r"LLM engine \(v.*?\) with config: model='([^']+)'"), "model"),
    (re.compile(r"Model loading took ([\d.]+ Gi?B)"), "weights, a rank"),
    (re.compile(r"Available KV cache memory: ([\d.]+ GiB)"), "KV cache, a rank"),
    (re.compile(r"KV cache size: ([\d,]+) tokens"), "KV cache, tokens an engine"),
    (re.compile(r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+x)"), "full-length requests at once"),
)
BEGUN = re.compile(r"vLLM (?:API )?server version|non-default args:")
LOADED = "measures the memory left"  # begins when the last rank has loaded
CORE = "starts the workers"  # once a core is there, another front end's first line is another start
READY = re.compile(r"Application startup complete")
ENDS = re.compile(r"Shutting down\b|Application shutdown complete|trigger received signal|Finished server process")


@dataclass(frozen=True)
class Took:
    """A phase or a part: when it began, in seconds after the first line, how long it took, and who says so.

    `stated` counts the processes whose line states it, 0 where it is the time between lines, good to a second.
    `fastest_s` is the shortest of those stated, and `slowest` the process of the longest.
    """

    name: str
    began_s: float | None
    took_s: float
    stated: int = 0
    fastest_s: float | None = None
    slowest: str = ""


@dataclass
class Start:
    """One start of a server, as its lines come."""

    first_s: float | None = None
    last_s: float | None = None
    ready_s: float | None = None
    ready: bool = False
    ending: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    _began: dict[str, float | None] = field(default_factory=dict)  # by phase, in order
    _stated: dict[str, dict[str, float]] = field(default_factory=dict)  # by phase or part, then process

    def read(self, line: LogLine) -> None:
        """Take a line in."""
        if line.time_s is not None:
            self.first_s = line.time_s if self.first_s is None else self.first_s
            self.last_s = line.time_s
        if READY.search(line.words):
            self.ready, self.ready_s = True, line.time_s or self.last_s  # uvicorn's line has no time of its own
        elif self.ready:
            self.ending = self.ending or bool(ENDS.search(line.words))
        else:
            self._read_phase(line)

    def begins_anew(self, line: LogLine) -> bool:
        """Whether a line is the first of another start: a pod's log goes on where the one before ended."""
        return bool(BEGUN.search(line.words)) and (self.ready or CORE in self._began)

    @property
    def doing(self) -> str | None:
        """The phase that the last line is of, None where no line begins one."""
        return list(self._began)[-1] if self._began else None

    def took(self) -> list[Took]:
        """Every phase that ended, and what lines state besides, in order of their beginning."""
        phases = [self._as_stated(Took(*phase)) for phase in self._between()]
        named = {phase.name for phase in phases}
        return [*phases, *(self._part(name) for name in self._stated if name not in named)]

    def _read_phase(self, line: LogLine) -> None:
        for pattern, name in STATED:
            if stated := pattern.search(line.words):
                times = self._stated.setdefault(name, {})
                times[line.process] = times.get(line.process, 0.0) + float(stated[1])
        for pattern, name in BEGINS:
            latest = ORDER[list(self._began)[-1]] if self._began else 0
            if ORDER[name] + (name == LOADED) > latest and pattern.search(line.words):
                self._began[name] = line.time_s
        for pattern, name in FACTS:
            if name not in self.facts and (fact := pattern.search(line.words)):
                self.facts[name] = fact[fact.lastindex or 1]

    def _between(self) -> list[tuple[str, float, float]]:
        """Each phase with its beginning and its length by the lines' times, as far as they have any."""
        begins = [(FIRST_PHASE, self.first_s), *self._began.items()]
        ends = [*(began_s for _, began_s in begins[1:]), self.ready_s if self.ready else None]
        return [
            (name, began_s - (self.first_s or 0.0), end_s - began_s)
            for (name, began_s), end_s in zip(begins, ends, strict=True)
            if began_s is not None and end_s is not None and not (name == FIRST_PHASE and end_s == began_s)
        ]

    def _as_stated(self, phase: Took) -> Took:
        """A phase with the duration that lines state, where they do."""
        return self._part(phase.name, phase.began_s) if phase.name in self._stated else phase

    def _part(self, name: str, began_s: float | None = None) -> Took:
        times = self._stated[name]
        slowest = max(times, key=lambda process: times[process])
        return Took(name, began_s, times[slowest], len(times), min(times.values()), slowest)
