"""Sweeps that are killed at places which a seed draws, and continued: no trial is lost, and none is run twice.

example: python tests/bench/killed_sweeps.py --kills 100
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.offline.kills import kill_and_continue
from tests.offline.sweeping import GRID, only_run, run, trials


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        model = scratch / "nothing"
        model.mkdir()
        (model / "config.json").write_text("{}")
        words = ["--model", str(model), *GRID]
        run(scratch / "undisturbed", *words, fake=True)
        expected = set(trials(only_run(scratch / "undisturbed")))
        kills = kill_and_continue(scratch, words, expected, args.kills, args.seed)
    print(f"{kills.count} kills, {kills.torn} in the middle of a record: no trial was lost or run twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
