"""One drawn run of a ring: wraps, two readers and the end of its process, against the process's own counter."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.shells import until
from tests.tracing.attach.standingprocess import counting, folder_of
from tracing.attach.moved import Moved
from tracing.attach.ring import Ring
from tracing.events.file import read


@dataclass(frozen=True)
class RingTrial:
    """What a run met: how it ended, how often the ring went round, and the records that were said to be lost."""

    was_killed: bool
    laps: int
    reported: int
    torn: int


def trial(folder: Path, seed: int) -> RingTrial:
    """Run one; AssertionError where a gap was not reported, or one was reported that is none."""
    drawn = random.Random(seed)
    source = folder_of(folder, standby=False)
    ending = drawn.choice((signal.SIGKILL, signal.SIGTERM))
    reported = torn = laps = 0
    with counting(source, seed, pause_s=drawn.choice((0.0, 0.0001))) as process:
        for number in range(2):
            out = folder / str(number)
            out.mkdir()
            moved = Moved(source, out)
            [file] = moved.files.values()
            for _ in range(drawn.randrange(3)):
                wait_for(file.ring, drawn.randrange(2 * file.ring.slots))
                moved.move()
            wait_for(file.ring, drawn.randrange(2 * file.ring.slots))
            count = process.end(ending) if number else None
            laps = max(laps, file.ring.written() // file.ring.slots)
            records, before = file.count, file.ring.lost
            lines = moved.close()
            at_end = file.ring.lost - before if file.count == records else 0  # behind the last span: no gap between two
            torn += check(out, lines, count, at_end)
            reported += lost(lines)
    return RingTrial(ending == signal.SIGKILL, laps, reported, torn)


def wait_for(ring: Ring, more: int) -> None:
    """Wait until so many more records are written: up to two laps, however busy the machine is."""
    end = ring.written() + more
    until(lambda: ring.written() >= end)


def lost(problems: list[str]) -> int:
    return sum(int(line.split()[0]) for line in problems)


def check(folder: Path, problems: list[str], count: int | None, at_end: int) -> int:
    """The spans run on without a gap, or as many are said to be missing as are, beside `at_end` that the writer
    overtook in the last read; how many records are torn."""
    [path] = folder.glob("events-*.bin")
    file = read(path)
    spans = file.spans[file.spans["site"] == 1]
    values = spans["value"]
    missing, between = int((np.diff(values) - 1).sum()), lost(problems) - at_end
    assert (np.diff(values) > 0).all()
    assert file.torn <= 1 and (between > 0) == (missing > 0), (missing, at_end, problems)
    assert missing <= between <= missing * 2, (missing, at_end, problems)  # a list takes places as well
    assert set(spans["request"].tolist()) <= set(file.texts)
    assert (file.process.first_ns > 0) == (not len(values) or values[0] > 0)  # all may be overwritten meanwhile
    assert count is None or values[-1] == count - 1, (values[-1], count)
    return file.torn
