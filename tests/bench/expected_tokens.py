"""The simulator beside the real engine on 270 random batches: how many counts differ.

Example: python tests/bench/expected_tokens.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.engine.offline.random_batches import WORKLOADS, compare

BATCHES = 90


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        comparisons = compare(Path(folder), WORKLOADS, BATCHES)
    differences = [line for comparison in comparisons.values() for line in comparison.differences()]
    for name, comparison in comparisons.items():
        figures = ", ".join(f"{comparison.total(count)} {count}" for count in ("hits", "queries", "preemptions"))
        print(f"{name}: {BATCHES} batches, {figures}; {len(comparison.differences())} counts differ")
    print(*differences, sep="\n", end="")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
