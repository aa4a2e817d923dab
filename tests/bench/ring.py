"""Random wraps, kills and dumps of a ring, against the counter of the process that writes it.

Each run draws how fast the process writes, how much until one reader and then another reads, and by which signal it
ends. A gap that is not reported, or one that is reported and is none, fails the run; its seed repeats it. Ctrl-C ends
it with what there is.

example: python tests/bench/ring.py --runs 1000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from probes.errors import terminable
from tests.tracing.attach.ringtrial import RingTrial, trial


def trials(first: int, count: int) -> Iterator[RingTrial]:
    """Run one after another; SystemExit names the seed of one that fails."""
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                yield trial(Path(scratch), seed)
            except AssertionError as error:
                sys.exit(f"seed {seed}: {error}")


def summary(done: Sequence[RingTrial]) -> Iterator[str]:
    """What all of them met."""
    kills, wraps = sum(each.was_killed for each in done), sum(each.laps for each in done)
    gaps, lost = sum(each.reported > 0 for each in done), sum(each.reported for each in done)
    yield f"{len(done)} runs, {2 * len(done)} dumps, {wraps} laps, {kills} by SIGKILL: no gap that is not reported"
    yield f"{gaps} runs reported a gap, of {lost} records in all; a torn record in {sum(e.torn for e in done)} runs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1000, help="the seed of the first run")
    args = parser.parse_args()
    done: list[RingTrial] = []
    try:
        with suppress(KeyboardInterrupt), terminable():
            for each in trials(args.first, args.runs):
                done.append(each)
    finally:
        print(*summary(done), sep="\n", flush=True)


if __name__ == "__main__":
    main()
