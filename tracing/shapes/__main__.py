"""Starts a real engine in each shape, recorded, and says what holds there: whole flows, columns that add up, roles.

examples:
  python -m tracing.shapes                          every shape, one after the other (half a minute to a minute each)
  python -m tracing.shapes one-gpu v2-one-gpu       these two
  python -m tracing.shapes --write notes/tables/shapes.md
A shape that the folder holds a recording of is not recorded again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import INCOMPLETE, run_main
from probes.programs import OWN_PYTHON
from tracing.shapes.shape import SHAPES, shape_named

LOG = "log.txt"


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.shapes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"one of {', '.join(SHAPES)} (default: all)")
    arguments.add_argument(
        "--out",
        type=Path,
        default=Path("traces/shapes"),
        help="the recordings, a folder a shape (default: %(default)s)",
    )
    arguments.add_argument("--write", type=Path, metavar="FILE", help="write the table as Markdown too")
    return arguments


def main() -> int:
    """The command: 0 where all holds in every shape, 3 where something does not."""
    args = parser().parse_args()

    from tracing.shapes import nursery, start
    from tracing.shapes.engine import conversation

    shapes = [shape_named(name) for name in args.shapes] or list(SHAPES.values())
    args.out.mkdir(parents=True, exist_ok=True)
    absent = [shape for shape in shapes if not (args.out / shape.name).exists()]
    if any(map(nursery.can_fork, absent)):
        os.environ.update(start.SMALL)
        conversation.import_engine()
    for shape in absent:
        log = args.out / f"{shape.name}-{LOG}"
        if not nursery.can_fork(shape):
            record(shape.name, args.out / shape.name, log)
        elif nursery.record(shape, args.out / shape.name, log):
            return 0  # the fork
    return show(args.out, [shape.name for shape in shapes], args.write)


def record(name: str, folder: Path, log: Path) -> None:
    """Record a shape's demonstration from its start, in a process of its own."""
    command = [*OWN_PYTHON, "-m", "tracing.record", "--out", str(folder), "--partial", "--"]
    command += [*OWN_PYTHON, "-m", "tracing.demo", "--shape", name]
    with log.open("w") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def show(folder: Path, names: list[str], path: Path | None) -> int:
    """Print the table of what was recorded, and write it where asked."""
    from probes.console import console
    from tracing.shapes import table

    rows = table.rows(folder, names)
    out = console()
    for row in rows:
        out.print(" | ".join(row), soft_wrap=True, markup=False)
    if path:
        path.write_text(table.markdown(folder, rows))
        print(f"Wrote {path}")
    return 0 if all(row[-1] == "yes" for row in rows) else INCOMPLETE


if __name__ == "__main__":
    run_main(main)
