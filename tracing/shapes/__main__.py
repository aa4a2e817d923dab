"""Starts a real engine in each shape, recorded, and says what holds there: whole flows, columns that add up, roles.

examples:
  python -m tracing.shapes                          every shape, one after the other (half a minute each)
  python -m tracing.shapes one-gpu v2-one-gpu       these two
  python -m tracing.shapes --write notes/tables/shapes.md
A shape that the folder holds a recording of is not recorded again, unless its program failed.

exit codes: 0 all holds in every shape, 1 the table cannot be written, 2 bad usage, 3 something does not hold
"""

from __future__ import annotations

import argparse
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import INCOMPLETE, run_main, usage_error
from tracing.shapes.shape import SHAPES, shape_named


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
    arguments.add_argument(
        "--forked",
        action="store_true",
        help="fork the engines off one process that has imported vLLM, where that can be: sooner, and none is spawned",
    )
    return arguments


def main() -> int:
    """The command: 0 where all holds in every shape, 3 where something does not."""
    args = parser().parse_args()
    if args.write and not args.write.parent.is_dir():  # said before the engines have run for a quarter of an hour
        raise usage_error(f"{args.write} cannot be written: there is no folder {args.write.parent}")
    shapes = [shape_named(name) for name in args.shapes] or list(SHAPES.values())

    from tracing.shapes import recording

    args.out.mkdir(parents=True, exist_ok=True)
    if recording.record_all(shapes, args.out, args.forked):
        return 0  # the fork
    return show(args.out, [shape.name for shape in shapes], args.write)


def show(folder: Path, names: list[str], path: Path | None) -> int:
    """Print the table of what was recorded, and write it where asked."""
    from probes.console import console
    from probes.outputfiles import write_texts
    from tracing.shapes import table

    rows = table.rows(folder, names)
    out = console()
    for row in rows:
        out.print(" | ".join(row), soft_wrap=True, markup=False)
    if path:
        write_texts({path: table.markdown(folder, rows)})
        print(f"Wrote {path}")
    return 0 if all(row[-1] == "yes" for row in rows) else INCOMPLETE


if __name__ == "__main__":
    run_main(main)
