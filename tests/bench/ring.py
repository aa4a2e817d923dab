"""Random wraps, kills and dumps of a ring at once, against the counter of the process that writes it.

Each run draws how fast the process writes, how much until two readers read, and by which signal it ends. A gap that is
not reported, or one that is reported and is none, fails the run; its seed repeats it.

example: python tests/bench/ring.py --runs 1000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.tracing.attach.ringtrial import RingTrial, trial


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1000, help="the seed of the first run")
    args = parser.parse_args()
    trials: list[RingTrial] = []
    for seed in range(args.first, args.first + args.runs):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                trials.append(trial(Path(scratch), seed))
            except AssertionError as error:
                print(f"seed {seed}: {error}", file=sys.stderr)
                return 1
    kills = sum(each.was_killed for each in trials)
    wraps = sum(each.laps for each in trials)
    gaps = sum(each.reported > 0 for each in trials)
    lost = sum(each.reported for each in trials)
    print(f"{len(trials)} runs, {2 * len(trials)} dumps, {wraps} laps, {kills} by SIGKILL: no gap that is not reported")
    print(f"{gaps} runs reported a gap, of {lost} records in all; a torn record in {sum(e.torn for e in trials)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
