"""vLLM's periodic lines as load over time: throughput, requests, KV use, hit rate.

A line is the state of one engine as one front end saw it, and the throughput since that front end's line before.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from probes.serve.explain.loggedsteps import engine_of
from probes.serve.explain.logline import LogLine

LOAD = re.compile(
    r"(?:Engine (\d+): |\d+ Engines Aggregated: )?Avg prompt throughput: ([\d.]+) tokens/s, "
    r"Avg generation throughput: ([\d.]+) tokens/s, Running: (\d+) reqs(?:, Swapped: \d+ reqs)?, "
    r"(?:Waiting|Pending): (\d+) reqs"
)
KV_USE = re.compile(r"KV cache usage: ([\d.]+)%")  # the first is the device's
HIT_RATE = re.compile(r"Prefix cache hit rate: (?:GPU: )?([\d.]+)%")
PREEMPTIONS = re.compile(r"Preemptions: (\d+)")
LEAST_WIDTH_S = 10.0  # what vLLM logs every
MOST_WINDOWS = 240


@dataclass
class _Source:
    """What one front end said of one engine within a window."""

    lines: int = 0
    prompt_tok_s: float = 0.0
    generation_tok_s: float = 0.0
    running: int = 0
    waiting: int = 0
    kv_use: float = 0.0
    hit_rate: float | None = None
    preemptions: int = 0

    def add(self, other: _Source) -> None:
        """Throughput is summed, to be divided by `lines`; of requests and KV use the most counts."""
        self.lines += other.lines
        self.prompt_tok_s += other.prompt_tok_s
        self.generation_tok_s += other.generation_tok_s
        self.running, self.waiting = max(self.running, other.running), max(self.waiting, other.waiting)
        self.kv_use = max(self.kv_use, other.kv_use)
        self.hit_rate = self.hit_rate if other.hit_rate is None else other.hit_rate
        self.preemptions += other.preemptions


@dataclass(frozen=True)
class LoadWindow:
    """A window of time over all engines: mean throughput, most requests and KV use (a share), the hit rate at its end.

    Requests and preemptions are summed over the engines, KV use is that of the fullest, the hit rate their mean.
    """

    begins_s: float
    width_s: float
    prompt_tok_s: float
    generation_tok_s: float
    running: int
    waiting: int
    kv_use: float
    hit_rate: float | None
    preemptions: int


@dataclass
class Load:
    """The periodic lines of a log, in windows that grow with the log, so that there are never many."""

    width_s: float = LEAST_WIDTH_S
    lines: int = 0
    _windows: dict[int, dict[tuple[str, int], _Source]] = field(default_factory=dict)

    def read(self, line: LogLine) -> bool:
        """Take a line in, if it is a periodic one."""
        match = LOAD.search(line.words) if "Avg prompt throughput" in line.words else None
        if match is None:
            return False
        self.lines += 1
        engine = int(match[1]) if match[1] else engine_of(line.process)
        window = self._windows.setdefault(int((line.time_s or 0.0) // self.width_s), {})
        window.setdefault((line.process, engine), _Source()).add(_source(line.words, match))
        while len(self._windows) > MOST_WINDOWS:
            self._windows = _halved(self._windows)
            self.width_s *= 2
        return True

    def windows(self, most: int = MOST_WINDOWS) -> list[LoadWindow]:
        """The windows in order, at most so many."""
        windows, width_s = self._windows, self.width_s
        while len(windows) > most:
            windows, width_s = _halved(windows), width_s * 2
        return [_summed(number * width_s, width_s, windows[number]) for number in sorted(windows)]


def _source(words: str, match: re.Match[str]) -> _Source:
    kv_use, hit_rate, preempted = KV_USE.search(words), HIT_RATE.search(words), PREEMPTIONS.search(words)
    return _Source(
        1,
        float(match[2]),
        float(match[3]),
        int(match[4]),
        int(match[5]),
        float(kv_use[1]) / 100 if kv_use else 0.0,
        float(hit_rate[1]) / 100 if hit_rate else None,
        int(preempted[1]) if preempted else 0,
    )


def _halved(windows: dict[int, dict[tuple[str, int], _Source]]) -> dict[int, dict[tuple[str, int], _Source]]:
    """The same in windows twice as wide."""
    wider: dict[int, dict[tuple[str, int], _Source]] = {}
    for number in sorted(windows):
        for key, source in windows[number].items():
            wider.setdefault(number // 2, {}).setdefault(key, _Source()).add(source)
    return wider


def _summed(begins_s: float, width_s: float, sources: dict[tuple[str, int], _Source]) -> LoadWindow:
    """A window's sources as one: several front ends of an engine report the same requests, and their own tokens."""
    engines: dict[int, _Source] = defaultdict(_Source)
    for (_, engine), source in sources.items():
        engines[engine].add(source)
    rates = [each.hit_rate for each in engines.values() if each.hit_rate is not None]
    return LoadWindow(
        begins_s,
        width_s,
        sum(each.prompt_tok_s / each.lines for each in sources.values()),
        sum(each.generation_tok_s / each.lines for each in sources.values()),
        sum(each.running for each in engines.values()),
        sum(each.waiting for each in engines.values()),
        max(each.kv_use for each in engines.values()),
        sum(rates) / len(rates) if rates else None,
        sum(each.preemptions for each in engines.values()),
    )
