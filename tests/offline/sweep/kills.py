"""Sweeps that are killed and continued, over and over, at places that a seed draws."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.offline.sweep.sweeping import nothing_left, only_run, run, trials

PROGRAM = (str(Path(__file__).parent / "killed_sweep.py"),)
CALLS = ("write", "fsync", "select", "replace")


@dataclass
class Kills:
    """How many sweeps were killed, and how many of them in the middle of a record."""

    count: int = 0
    torn: int = 0


def kill_and_continue(
    scratch: Path, words: list[str], expected: Collection[tuple[str, int, int]], count: int, seed: int, **settings: Any
) -> Kills:
    """SIGKILL in a write, at a sync, at a rename and while waiting, then `--resume`, until the run is whole; then anew.

    `settings` are those of `sweeping.start`: on which engine, and in which environment.
    Asserts that no trial is lost, run twice or missing at the end, and that no process outlives a kill.
    """
    draw, calls, kills = random.Random(seed), itertools.cycle(CALLS), Kills()
    for number in itertools.count():
        out, command, before, code = scratch / str(number), words, set[tuple[str, int, int]](), -signal.SIGKILL
        while code == -signal.SIGKILL:
            place = f"{next(calls)}:{draw.randint(1, 5)}"
            code, text = run(out, *command, **settings | {"program": PROGRAM, "KILL_AT": place})
            kills.count += code == -signal.SIGKILL
            assert nothing_left(), "a process of the killed sweep lives on"
            if any(out.glob("*/*/*/run.json")):
                folder = only_run(out)
                kills.torn += is_torn(folder / "records.jsonl")
                assert before <= set(trials(folder)), "a finished trial was lost"
                before, command = set(trials(folder)), ["--resume", str(folder)]
        assert code == 0, text
        completed = trials(only_run(out))
        assert len(completed) == len(set(completed)), "a trial was run twice"
        assert set(completed) == set(expected)
        if kills.count >= count:
            return kills
    raise AssertionError("there are numbers for ever")


def is_torn(records: Path) -> bool:
    """Whether the last record is only half there."""
    return records.exists() and records.read_bytes()[-1:] not in (b"", b"\n")
