"""How long the page of a large run takes to write, and how large it is: 200 cells, 2,000 trials.

Example: .venv/bin/python tests/bench/page.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from offline.page.page import write
from tests.offline.reports import SPEC, a_report

ROUNDS = 5
SIZES = tuple(16 * number for number in range(2, 10))  # 8 block sizes: 16 arms
BATCHES = tuple(range(1, 9))  # 8 cold cells in each arm, 8 warm ones in those that cache: 192 in all
TRIALS = 5  # of each cell, in each of 2 starts


def main() -> None:
    run = a_report(spec=replace(SPEC, batch_size=BATCHES, block_size=SIZES, repeats=TRIALS))
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            start = time.perf_counter()
            path = write(Path(folder), run)
            times.append(time.perf_counter() - start)
        size = path.stat().st_size
    trials = len(run.rows) * TRIALS * 2
    spread = f"{min(times):.2f} to {max(times):.2f}"
    print(f"{len(run.rows)} cells, {trials} trials: {statistics.median(times):.2f} s ({spread}), {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
