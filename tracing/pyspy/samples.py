"""Reads what py-spy left in a folder: a frame of samples, on the clock of the spans, and the stacks they point to.

A stack that stands (`tracing.pyspy.events`) was seen in every round. A round is taken at one time for all threads: its
place on our clock is known from the beacon (`tracing.pyspy.sampler`), whose frame in that round names the time at which
it began, and which is known to have ended when the next began.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from probes.errors import EnginescopeError
from tracing.pyspy import recording
from tracing.pyspy.events import EventReader, Stack
from tracing.pyspy.process import refusal
from tracing.pyspy.recording import Recording
from tracing.pyspy.sampler import EVENTS, LOG, STAMPS
from tracing.timeline.intervals import expanded

ROUND_GAP_US = 500  # stamps of one round lie closer, those of two further apart
CONFIDENT = 95  # percent of the rounds that the uncertainty holds for
GONE_NS = 2_000_000_000  # a thread not seen alive in the last of these is taken for dead
BEHIND = re.compile(r"([\d.]+)s behind in sampling")


@dataclass(frozen=True)
class Samples:
    """What py-spy saw.

    `frame` has a row a thread and round: `time_ns` (CLOCK_MONOTONIC where there was a beacon, else an estimate), `pid`,
    `thread` (the operating system's), `stack`, a number in `stacks`, and `weight_ns`, time to the next round: py-spy
    takes fewer rounds where the machine is busy, so shares are of time and not of samples. `names` are those of
    threads, `titles` the command lines of processes. `off_ns` is how far each round may be from its place at most
    (empty where there was no beacon); `uncertainty_ns` is that for 95 % of the rounds, -1 where there was no beacon.
    """

    folder: Path
    frame: pd.DataFrame
    stacks: list[Stack]
    names: dict[tuple[int, int], str]
    titles: dict[int, str]
    recording: Recording
    rounds: int
    off_ns: np.ndarray
    torn: bool

    @property
    def uncertainty_ns(self) -> int:
        return self.within_ns(CONFIDENT)

    def within_ns(self, percent: float) -> int:
        """How far this share of the rounds may be from their places at most."""
        return int(np.percentile(self.off_ns, percent)) if len(self.off_ns) else -1

    @property
    def behind_s(self) -> float:
        """By how much py-spy was behind its rate at the worst, as it says."""
        words = (self.folder / LOG).read_text(errors="replace") if (self.folder / LOG).exists() else ""
        return max(map(float, BEHIND.findall(words)), default=0.0)

    @cached_property
    def qualified(self) -> bool:
        """Whether functions are named with their classes."""
        return any("." in frame.name for stack in self.stacks for frame in stack)

    @cached_property
    def rate(self) -> float:
        """Rounds a second, as they were taken."""
        times = self.frame["time_ns"]
        return self.rounds / max((times.max() - times.min()) / 1e9, 1e-9) if len(times) else 0.0


def read(folder: Path) -> Samples:
    """Read a folder's samples; `EnginescopeError` where it has none, or py-spy failed."""
    about = recording.read(folder)
    if not (folder / EVENTS).exists():
        raise EnginescopeError(f"no samples in {folder}: {_absence(folder, about)}")
    events = EventReader()
    torn = events.read(folder / EVENTS)
    clock = _clock(folder, about, events)
    runs = pd.DataFrame(events.runs, columns=["pid", "thread", "begin", "end", "stack"])
    own = about.sampler or (about.root if about.beacon else 0)
    runs = runs[runs["pid"] != own]
    runs = _cut(runs, about, clock)
    first, last = (np.searchsorted(clock.stamps_us, runs[edge], "right") - 1 for edge in ("begin", "end"))
    of, rounds = expanded(first, last)
    frame = runs[["pid", "thread", "stack"]].iloc[of].reset_index(drop=True)
    frame.insert(0, "time_ns", clock.times_ns[rounds])
    frame["weight_ns"] = np.diff(clock.times_ns, append=clock.times_ns[-1:] + 1_000_000_000 // about.rate)[rounds]
    frame = frame.sort_values(["time_ns", "pid", "thread"], kind="stable", ignore_index=True)
    return Samples(
        *(folder, frame, events.all_stacks(), events.names, events.titles),
        *(about, len(clock.stamps_us), clock.off_ns, torn),
    )


def _absence(folder: Path, about: Recording) -> str:
    """Why py-spy wrote no samples."""
    if about.exit_code < 0:
        return f"py-spy was killed (signal {-about.exit_code}) before it wrote; record again"
    log = (folder / LOG).read_text(errors="replace") if (folder / LOG).exists() else ""
    return refusal(log, about.root)


# --- the clock ---


@dataclass(frozen=True)
class _Clock:
    """The rounds: py-spy's stamps, and where they lie on CLOCK_MONOTONIC."""

    stamps_us: np.ndarray
    times_ns: np.ndarray
    off_ns: np.ndarray
    offset_ns: int


def _clock(folder: Path, about: Recording, events: EventReader) -> _Clock:
    stamps = np.array(sorted(events.stamps), dtype=np.int64)
    if about.beacon and events.beacon:
        rounds = stamps[np.diff(stamps, prepend=-ROUND_GAP_US - 1) > ROUND_GAP_US]
        begins = np.fromfile(folder / STAMPS, dtype=np.int64)
        return by_beacon(rounds, np.array(events.beacon, dtype=np.int64), begins)
    # Without a beacon nothing says when a round was: they are laid out at the rate that was asked for.
    last = int(stamps[-1]) if len(stamps) else 0
    rounds = np.arange(int(stamps[0]) if len(stamps) else 0, last, 1_000_000 // about.rate)
    offset = about.ended_ns - last * 1000
    return _Clock(rounds, rounds * 1000 + offset, np.zeros(0), offset)


def by_beacon(rounds: np.ndarray, beacons: np.ndarray, begins: np.ndarray) -> _Clock:
    """Place rounds: `beacons` has rows of a stamp (µs) and the beacon's time in that round, `begins` all of its times.

    A round lies between the time its beacon names and the beacon's next. One offset for all is the median of the
    middles; a round that it would put outside its bounds (py-spy stamps after it has read all stacks, later on a busy
    machine) is moved to the nearer one. What it may be off by is its distance from the further bound.
    """
    at = np.maximum(np.searchsorted(beacons[:, 0], rounds + ROUND_GAP_US, "right") - 1, 0)
    low = beacons[at, 1]
    place = np.searchsorted(begins, low, "right")
    high = np.where(place < len(begins), begins[np.minimum(place, len(begins) - 1)], low)
    middle = (low + high) // 2
    offset = int(np.median(middle - rounds * 1000))
    times = np.clip(rounds * 1000 + offset, low, high)
    off = np.maximum(times - low, high - times)
    return _Clock(rounds, times, off, offset)


def _cut(runs: pd.DataFrame, about: Recording, clock: _Clock) -> pd.DataFrame:
    """End every thread's last run where the thread was last alive, if that was before py-spy's end."""
    last = runs.groupby(["pid", "thread"])["end"].idxmax()
    alive_ns = [
        about.live.get(pid, {}).get(thread, 0)
        for pid, thread in zip(runs.loc[last, "pid"], runs.loc[last, "thread"], strict=True)
    ]
    alive_us = (np.array(alive_ns, dtype=np.int64) - clock.offset_ns) // 1000
    gone = np.array(alive_ns, dtype=np.int64) < about.ended_ns - GONE_NS
    living = runs.copy()
    ends = np.maximum(alive_us, runs.loc[last, "begin"].to_numpy() + 1)
    living.loc[last, "end"] = np.where(gone, np.minimum(ends, runs.loc[last, "end"]), runs.loc[last, "end"])
    return living
