"""How often the intervals of `probes.report` hold the truth, on simulated servers: a table in Markdown.

Example: python tests/bench/coverage.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.probes.statistics.simulatedruns import FIGURES, bursts, coverage, independent, lockstep, shared, slow_periods

RUNS = 300
CASES = (
    *((independent, waves) for waves in (40, 100)),
    *((shared, waves) for waves in (40, 100)),
    *((lockstep, waves) for waves in (40, 100)),
    *((bursts, waves) for waves in (100, 200)),
    *((slow_periods, waves) for waves in (100, 200)),
)


def main() -> int:
    print("| server | latencies long | with intervals |", " | ".join(FIGURES), "|")
    print("| --- |", " | ".join(["---:"] * (2 + len(FIGURES))), "|")
    for kind, waves in CASES:
        shares = coverage(kind, waves, RUNS)
        cells = [kind.__name__.replace("_", " "), str(waves), *(f"{100 * share:.0f} %" for share in shares.values())]
        print("|", " | ".join(cells), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
