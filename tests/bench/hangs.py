"""Seeded runs of every kind of hang on real servers, and the table of how many were named rightly.

Each run is a line of the file of results; what stands there already is not run again.

example: python tests/bench/hangs.py --runs 20 --results build/hangs.jsonl --table notes/tables/hangs.md
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.engine.tracing.hang.hangkinds import KINDS, Kind, is_right
from tests.engine.tracing.hang.hungserver import HungServer
from tracing.hang.report import first_line

Run = tuple[Kind, int]  # and its seed


@dataclass(frozen=True)
class Result:
    """One run: whether it was named rightly, and the first line of what was said."""

    kind: str
    seed: int
    right: bool
    answer: str


def run(server: HungServer, kind: Kind, seed: int) -> Result:
    """Bring the server into a state, have it explained, and bring it out again."""
    began_s = time.monotonic()
    with server.state(kind, random.Random(f"{kind.name} {seed}")):
        explanation = server.explanation(kind)
    result = Result(kind.name, seed, is_right(kind, explanation), first_line(explanation))
    seconds = time.monotonic() - began_s
    print(f"{'right' if result.right else 'WRONG'}  {kind.name} {seed}, {seconds:.0f} s: {result.answer}", flush=True)
    return result


def series(pending: Sequence[Run]) -> Iterator[list[Run]]:
    """The runs that one server can serve: of one setting, and nothing after a fatal one."""
    for _, group in groupby(
        sorted(pending, key=lambda run: (run[0].setting, run[0].fatal)), lambda run: run[0].setting
    ):
        runs = list(group)
        fatal = [run for run in runs if run[0].fatal]
        yield [*(run for run in runs if not run[0].fatal), *fatal[:1]]
        yield from ([run] for run in fatal[1:])


def run_all(runs: Sequence[Run], deadline_s: float, file: TextIO) -> None:
    """The runs of one server, as long as there is time."""
    if time.monotonic() > deadline_s:
        return
    setting = runs[0][0].setting
    with (
        tempfile.TemporaryDirectory(prefix="enginescope-hangs-") as folder,
        HungServer(Path(folder), setting) as server,
    ):
        for kind, seed in runs:
            if time.monotonic() < deadline_s:
                file.write(json.dumps(asdict(run(server, kind, seed))) + "\n")


def results_in(path: Path) -> list[Result]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def table(results: Sequence[Result]) -> str:
    """The published table."""
    rows = ["| what was done | what it should be called | named rightly |", "| --- | --- | --- |"]
    for kind in KINDS:
        rights = [each.right for each in results if each.kind == kind.name]
        if rights:
            rows.append(f"| {kind.name} | {kind.cause} | {sum(rights)} of {len(rights)} |")
    return "\n".join([*rows, ""])


def in_place(text: str, table_text: str) -> str:
    """A text with this table in place of its first one."""
    lines = text.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("|"))
    end = next((at for at, line in enumerate(lines[begin:], begin) if not line.startswith("|")), len(lines))
    return "\n".join([*lines[:begin], *table_text.splitlines(), *lines[end:], ""])


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=20, help="of each kind (default 20)")
    arguments.add_argument("--minutes", type=float, default=60.0, help="begin no run after so many")
    arguments.add_argument("--kind", action="append", help="only these kinds")
    arguments.add_argument("--results", type=Path, default=Path("build/hangs.jsonl"), help="default: %(default)s")
    arguments.add_argument("--table", type=Path, help="put the table in place of the first one there")
    return arguments


def main() -> None:
    args = parser().parse_args()
    deadline_s = time.monotonic() + 60 * args.minutes
    args.results.parent.mkdir(parents=True, exist_ok=True)
    known = {(each.kind, each.seed) for each in results_in(args.results)}
    kinds = [kind for kind in KINDS if not args.kind or kind.name in args.kind]
    pending = [(kind, seed) for seed in range(args.runs) for kind in kinds if (kind.name, seed) not in known]
    with args.results.open("a", buffering=1) as file:
        for runs in series(pending):
            run_all(runs, deadline_s, file)
    text = table(results_in(args.results))
    print(text)
    if args.table:
        args.table.write_text(in_place(args.table.read_text(), text))


if __name__ == "__main__":
    main()
