"""Runs of requests on a server that only keeps time, to see how often intervals hold the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from probes.statistics.blocks import Numbers, blocks
from probes.statistics.intervals import Estimate

SLOTS, STEPS = 16, 16  # requests at once, steps of a request on average
NOISE = 0.3  # of a step's time, in logarithms
SHARES = (0.5, 0.95)
FIGURES = ("latency mean", "latency P50", "latency P95", "ITL mean", "ITL P50", "ITL P95")
Generator = np.random.Generator


@dataclass(frozen=True)
class SimulatedRun:
    """Latencies with the moments of their ends, gaps with theirs; all in steps of the server from the beginning."""

    latencies: Numbers
    ends: Numbers
    gaps: Numbers
    gap_ends: Numbers
    seconds: float

    def figures(self) -> list[Estimate]:
        """The figures of `FIGURES`, each with its interval."""
        parts = blocks(self.seconds, self.latencies)
        pairs = (self.latencies, self.ends), (self.gaps, self.gap_ends)
        return [e for pair in pairs for e in (parts.mean(*pair), *parts.quantiles(*pair, SHARES))]


def noise(random: Generator, count: int) -> Numbers:
    return np.exp(NOISE * random.standard_normal(count))


def _slot(random: Generator, steps: Numbers, lengths: np.ndarray, begin: int = 0) -> tuple[Numbers, ...]:
    """One slot that serves a request after the other, through the steps' times: latencies, ends, gaps, gap ends."""
    clock = np.concatenate([[0.0], np.cumsum(steps)])
    ends = begin + np.cumsum(lengths)
    ends = ends[ends < len(clock)]
    begins = np.concatenate([[begin], ends[:-1]]).astype(int)
    gaps = np.setdiff1d(np.arange(begin, ends[-1]), begins)  # the first token ends a request's first step
    return clock[ends] - clock[begins], clock[ends], steps[gaps], clock[gaps + 1]


def _run(slots: Iterable[tuple[Numbers, ...]]) -> SimulatedRun:
    latencies, ends, gaps, gap_ends = (np.concatenate(parts) for parts in zip(*slots, strict=True))
    return SimulatedRun(latencies, ends, gaps, gap_ends, float(max(ends.max(), gap_ends.max())))


def _lengths(random: Generator, waves: int) -> np.ndarray:
    return np.maximum(2, random.poisson(STEPS, 2 * waves))


def independent(random: Generator, waves: int) -> SimulatedRun:
    """Every request has noise of its own, and a speed of its own."""

    def slot() -> tuple[Numbers, ...]:
        lengths = _lengths(random, waves)
        steps = noise(random, lengths.sum()) * np.repeat(noise(random, len(lengths)), lengths)
        return _slot(random, steps[: int(np.searchsorted(np.cumsum(steps), waves * STEPS))], lengths)

    return _run(slot() for _ in range(SLOTS))


def shared(random: Generator, waves: int, slowness: Callable[[Generator, int], Numbers] | None = None) -> SimulatedRun:
    """All running requests get the same steps; `slowness` is a factor a step."""
    steps = noise(random, waves * STEPS)
    steps = steps * slowness(random, len(steps)) if slowness else steps
    return _run(_slot(random, steps, _lengths(random, waves)) for _ in range(SLOTS))


def lockstep(random: Generator, waves: int) -> SimulatedRun:
    """The limiting case: requests of one length that begin together; each wave is one observation."""
    steps = noise(random, waves * STEPS)
    return _run(_slot(random, steps, np.full(waves, STEPS)) for _ in range(SLOTS))


def slow_periods(random: Generator, waves: int) -> SimulatedRun:
    """A third of the time the server takes twice as long, for five requests' length at a stretch."""

    def slowness(random: Generator, count: int) -> Numbers:
        factors, slow = np.ones(0), bool(random.random() < 1 / 3)
        while len(factors) < count:
            length = 1 + int(random.exponential(STEPS * (5 if slow else 10)))
            factors, slow = np.concatenate([factors, np.full(length, 2.0 if slow else 1.0)]), not slow
        return factors[:count]

    return shared(random, waves, slowness)


def bursts(random: Generator, waves: int) -> SimulatedRun:
    """`SLOTS` requests arrive at once, at random moments; steps get longer with the requests that run."""
    arrivals = np.cumsum(random.exponential(3 * STEPS, waves))
    lengths = np.maximum(2, random.poisson(STEPS, (waves, SLOTS)))
    left, began = np.zeros(0, int), np.zeros(0)
    latencies, ends, gaps, gap_ends = [], [], [], []
    clock, burst = arrivals[0], 0
    while burst < waves or len(left):
        clock = max(clock, arrivals[burst]) if not len(left) else clock
        running = len(left)
        while burst < waves and arrivals[burst] <= clock:
            left, began = np.append(left, lengths[burst]), np.append(began, np.full(SLOTS, arrivals[burst]))
            burst += 1
        step = (0.5 + 0.5 * len(left) / SLOTS) * float(noise(random, 1)[0])
        clock, left = clock + step, left - 1
        gaps += [step] * running
        gap_ends += [clock] * running
        done = left == 0
        latencies += list(clock - began[done])
        ends += [clock] * int(done.sum())
        left, began = left[~done], began[~done]
    return SimulatedRun(*(np.array(part) for part in (latencies, ends, gaps, gap_ends)), float(clock))


def coverage(kind: Callable[[Generator, int], SimulatedRun], waves: int, runs: int) -> dict[str, float]:
    """How often each figure's interval holds the truth, of the runs that have intervals.

    The truth is the figure over the observations of all runs together.
    """
    simulated = [kind(np.random.default_rng([waves, run]), waves) for run in range(runs)]
    truth: list[float] = []
    for part in ("latencies", "gaps"):
        values = np.concatenate([getattr(run, part) for run in simulated])
        truth += [float(values.mean()), *map(float, np.quantile(values, SHARES))]
    estimates = [run.figures() for run in simulated]
    closed = [each for each in estimates if each[0].low is not None]
    shares = {"with intervals": len(closed) / runs}
    for place, name in enumerate(FIGURES):
        shares[name] = sum(holds(each[place], truth[place]) for each in closed) / max(1, len(closed))
    return shares


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether an interval holds the truth; an open end always does."""
    return (estimate.low is None or estimate.low <= truth) and (estimate.high is None or truth <= estimate.high)
