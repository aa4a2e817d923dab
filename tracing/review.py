"""Prints where the time of a trace went, and writes it to `review.json` and `review.html` in the trace folder, which
`columns.md` there explains.

With a second folder it prints what takes longer there, and what less.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    from tracing.breakdown.findings import Findings
    from tracing.breakdown.requests.chosen import WindowChoice

EXAMPLES = """examples:
  python -m tracing.review traces/20261121-101500-ab12cd
  python -m tracing.review traces/<folder> --perfetto trace.pftrace     open it in Perfetto's UI
  python -m tracing.review traces/<folder> --csv spans.csv
  python -m tracing.review traces/<folder> --from 30                    without the first half minute: the warm-up
  python -m tracing.review traces/<folder> --requests 33-96             the 33rd request called to the 96th
  python -m tracing.review traces/<before> traces/<after>               what takes longer than before
"""
MOST_S = 1e9  # half a lifetime


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.review",
        description="Where the time of every request and step went, from a trace folder.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("folder", type=Path, metavar="DIR", help="a trace folder")
    arguments.add_argument("after", type=Path, nargs="?", metavar="DIR", help="a later one: what takes longer there")
    arguments.add_argument("--perfetto", type=Path, metavar="FILE", help="write a Perfetto trace as well")
    arguments.add_argument(
        "--csv", type=Path, metavar="FILE", help="write all spans as CSV as well, and what its columns mean beside it"
    )
    arguments.add_argument(
        "--from",
        dest="from_s",
        type=seconds,
        metavar="S",
        help="only what began at least S seconds after the first span, which comes later than the program's start",
    )
    arguments.add_argument(
        "--to",
        dest="to_s",
        type=seconds,
        metavar="S",
        help="only what began less than S seconds after the first span",
    )
    arguments.add_argument(
        "--requests",
        type=request_numbers,
        metavar="N-M",
        help="only these requests, numbered from 1 in the order of their calls",
    )
    return arguments


def seconds(text: str) -> float:
    """A time in a trace; `ArgumentTypeError` for one that no trace has, which may be endless or no number."""
    if not abs(value := float(text)) < MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in a trace, in seconds")
    return value


def request_numbers(text: str) -> tuple[int, int]:
    """`33-96` or `33`, as the first and last number; `ArgumentTypeError` for anything else."""
    first, dash, last = text.partition("-")
    numbers = [int(number) for number in (first, last if dash else first) if number.isdecimal()]
    if len(numbers) < 2 or not 1 <= numbers[0] <= numbers[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a request number or range, such as 33 or 33-96")
    return numbers[0], numbers[1]


def choice(args: argparse.Namespace) -> WindowChoice:
    """The part of the trace that was asked for."""
    from tracing.breakdown.requests.chosen import WindowChoice

    if args.requests and (args.from_s is not None or args.to_s is not None):
        raise usage_error("--requests chooses the time by itself: leave out --from and --to")
    if args.to_s is not None and args.to_s <= (args.from_s or 0):
        raise usage_error(f"--to {args.to_s:g} is not after --from {args.from_s or 0:g}")
    return WindowChoice(args.from_s, args.to_s, args.requests)


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.after is None:
        return review(args.folder, args.perfetto, args.csv, choice(args))
    if args.perfetto or args.csv:
        raise usage_error("--perfetto and --csv are for one trace, not for two that are compared")
    return compare(args.folder, args.after, choice(args))


def review(
    folder: Path, perfetto: Path | None = None, csv: Path | None = None, part: WindowChoice | None = None
) -> int:
    """Review a trace folder, or a part of it: write first, then print; 0, or an `EnginescopeError` for what cannot be
    read or written.

    A file that cannot be written keeps none of the others from being written, nor the review from being printed.
    """
    from probes.console import console
    from tracing.breakdown.findings import EVERYTHING, findings
    from tracing.page.sections import sections
    from tracing.page.terminal import show

    out = console()
    recorded = findings(folder, part or EVERYTHING)
    paths, failures = write(recorded, sections(recorded), perfetto, csv)
    try:
        show(recorded, out)
        for path in paths:
            out.print(f"Wrote {path}", soft_wrap=True, markup=False)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        failures.append(f"standard output: {error.strerror}")
    if failures:
        raise EnginescopeError(f"cannot write {'; '.join(failures)}")
    return 0


def compare(before: Path, after: Path, part: WindowChoice | None = None) -> int:
    """Print what changed from one trace folder, or a part of it, to another; 0, or an `EnginescopeError` for what
    cannot be read."""
    from probes.console import console
    from tracing.breakdown.findings import EVERYTHING, findings
    from tracing.page.comparison import show

    earlier, later = (findings(folder, part or EVERYTHING) for folder in (before, after))
    show(earlier, later, console())
    return 0


def write(
    findings: Findings, sections: list[tuple[str, str, str]], perfetto: Path | None, csv: Path | None
) -> tuple[list[Path], list[str]]:
    """Write `review.json`, `review.html`, `columns.md` and what else was asked.

    The paths, and what could not be written and why.
    """
    from probes.columns import FILE as COLUMNS
    from probes.columns import write_beside
    from tracing.breakdown import review as reviewfile
    from tracing.breakdown.dictionary import column_dictionary
    from tracing.page.html import page
    from tracing.page.sections import machine_warnings
    from tracing.timeline.columns import SpanRow

    folder, review = findings.timeline.folder, findings.review
    lines = [*review.problems, *machine_warnings(review)]
    writers: dict[Path, Callable[[Path], object]] = {
        folder / reviewfile.FILE: lambda path: reviewfile.write(review, path),
        folder / "review.html": lambda path: path.write_text(
            page(f"Trace {folder.resolve().name}", review.about, lines, sections)
        ),
    }
    writers[folder / COLUMNS] = lambda path: path.write_text(column_dictionary())
    if perfetto:
        from tracing.page.perfetto import export  # Perfetto's classes take long to load

        writers[perfetto] = lambda path: export(findings.timeline, findings.flows, findings.hops, path)
    if csv:
        writers[csv] = lambda path: findings.timeline.spans.to_csv(path, index=False)
    paths, failures = [], []
    for path, writer in writers.items():
        try:
            writer(path)
            paths.append(path)
        except OSError as error:
            failures.append(f"{path}: {error.strerror or error}")
    if csv in paths and (explained := write_beside(csv, SpanRow)):
        paths.append(explained)
    return paths, failures


if __name__ == "__main__":
    run_main(main)
