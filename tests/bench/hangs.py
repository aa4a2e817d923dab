"""Seeded runs of every kind of hang on one real server after another, and the table of how many were named rightly.

example: python tests/bench/hangs.py --runs 20 --table notes/tables/hangs.md
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.engine import hungserver
from tests.engine.hanging import hanging
from tests.engine.hungserver import KINDS, HungServer, Kind
from tracing.hang.explanation import Explanation
from tracing.hang.report import first_line

LASTING = [kind for kind in KINDS if kind.name == hanging.DEAD_OUTPUT_THREAD]
PASSING = [kind for kind in KINDS if kind not in LASTING]


def run(server: HungServer, kind: Kind, seed: int) -> tuple[bool, Explanation]:
    """One run: whether it was named rightly, and what was said."""
    with server.state(kind.name, random.Random(f"{kind.name} {seed}")):
        explanation = server.explanation()
    right = hungserver.is_right(kind, explanation)
    print(f"{'right' if right else 'WRONG'}  {kind.name} {seed}: {first_line(explanation)}", flush=True)
    return right, explanation


def table(results: dict[str, list[bool]]) -> str:
    """The published table."""
    rows = [
        f"| {kind.name} | {kind.cause} | {sum(results[kind.name])} of {len(results[kind.name])} |"
        for kind in KINDS
        if results.get(kind.name)
    ]
    return "\n".join(["| what was done | what it should be called | named rightly |", "| --- | --- | --- |", *rows, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="of each kind (default 20)")
    parser.add_argument(
        "--lasting", type=int, default=2, help="of those that an engine does not recover from: a start each"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no run after so many")
    parser.add_argument("--kind", action="append", help="only these kinds")
    parser.add_argument("--table", type=Path, help="write the table there")
    args = parser.parse_args()
    deadline = time.monotonic() + 60 * args.minutes
    results: dict[str, list[bool]] = {}
    chosen = [kind for kind in PASSING if not args.kind or kind.name in args.kind]
    lasting = LASTING if not args.kind or LASTING[0].name in args.kind else []
    for start in range(max(args.lasting if lasting else 1, 1)):
        with tempfile.TemporaryDirectory(prefix="enginescope-hangs-") as folder, HungServer(Path(folder)) as server:
            for seed in range(start, args.runs, max(args.lasting if lasting else 1, 1)):
                for kind in chosen:
                    if time.monotonic() < deadline:
                        results.setdefault(kind.name, []).append(run(server, kind, seed)[0])
            for kind in lasting:
                results.setdefault(kind.name, []).append(run(server, kind, start)[0])
    print(table(results))
    if args.table:
        args.table.write_text(table(results))


if __name__ == "__main__":
    main()
