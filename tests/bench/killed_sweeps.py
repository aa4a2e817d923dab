"""Sweeps that are killed at places which a seed draws, and continued: no trial is lost, and none is run twice.

Prints a Markdown table: the sweeps on the stand-in for vLLM, whose engines start at once, and some on the real engine.

example: python tests/bench/killed_sweeps.py --kills 100 --real-kills 10
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from probes.checkpoint import two_layer_model
from tests.engine.recording import FORKED
from tests.offline.sweep.kills import PROGRAM, kill_and_continue
from tests.offline.sweep.sweeping import GRID, SMALL, THREE_ARMS, only_run, run, trials

HEAD = ("engine", "trials a sweep", "kills", "in the middle of a record", "trials lost", "trials run twice")
REAL_GRID = ("--batch-size", "1,4", "--block-size", "32", "--prefix-caching", "off", *SMALL, "--repeats", "4")


def row(engine: str, scratch: Path, words: list[str], count: int, seed: int, **settings: Any) -> list[str]:
    """A line of the table, once nothing was lost and nothing was run twice in all those sweeps."""
    code, text = run(scratch / "undisturbed", *words, **settings)
    assert code == 0, text
    expected = set(trials(only_run(scratch / "undisturbed")))
    kills = kill_and_continue(scratch, words, expected, count, seed, **settings)
    return [engine, str(len(expected)), str(kills.count), str(kills.torn), "0", "0"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="on the stand-in (default: %(default)s)")
    parser.add_argument("--real-kills", type=int, default=10, help="on the real engine (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print("|", " | ".join(HEAD), "|\n|", " | ".join(["---"] * len(HEAD)), "|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        stand_in, real, model = Path(name, "stand-in"), Path(name, "real"), Path(name, "nothing")
        model.mkdir()
        (model / "config.json").write_text("{}")
        if args.kills:
            words = ["--model", str(model), *GRID]
            print("|", " | ".join(row("stand-in", stand_in, words, args.kills, args.seed, fake=True)), "|", flush=True)
            words, two = ["--model", str(model), *THREE_ARMS], {"program": PROGRAM, "ENGINES_FIT": "2", "fake": True}
            line = row("stand-in, two of three fit", Path(name, "groups"), words, args.kills, args.seed, **two)
            print("|", " | ".join(line), "|", flush=True)
        if args.real_kills:
            words = ["--model", str(two_layer_model()), *REAL_GRID]
            print("|", " | ".join(row("vLLM", real, words, args.real_kills, args.seed, **FORKED)), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
