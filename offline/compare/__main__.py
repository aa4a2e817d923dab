"""`python -m offline.compare A B […]`: is run B faster or slower than run A, cell by cell, and can these runs tell?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import run_main, usage_error

if TYPE_CHECKING:
    from offline.differences.difference import Difference

AXIS_HELP = "what the runs differ in: a setting, `model`, `machine`, or a field of the fingerprint such as `vllm`"
UNDER = (
    "ratio = run / base; the intervals hold together, with starts as replicates, and allow for the machine's movement."
)
METRIC_HELP = "a metric of differences.csv (default output_tok_s)"
EPILOG = """examples:
  python -m offline.compare results/m/default/20260101-100000-aaaaaa results/m/default/20260102-100000-bbbbbb
  python -m offline.compare A B --axis vllm                  before and after an upgrade
  python -m offline.compare A B --metric ttft_s_p50
  python -m offline.compare BASE NEW --fail-if-slower 3%     for CI

The first run is the base. Engine starts are the replicates: measure at least two of each arm in both runs. Where arms
have one, their spread is taken to be that of the other arms, and where all have one, nothing is compared. A run that
did not come to its end is named first. Intervals hold together, and are widened by what the reference kernel moved
between the runs.

exit codes: 0 done, 2 bad usage, 1 another failure; with --fail-if-slower also 4 slower beyond the bound, 5 inconclusive
(these runs could not have shown a difference of that size)
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    from offline.spec.effort import share

    parser = CommandParser(
        prog="python -m offline.compare",
        description="Compares runs of offline.sweep with the first of them, cell by cell.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("base", type=Path, metavar="A", help="folder of the run to compare with")
    parser.add_argument("runs", type=Path, nargs="+", metavar="B", help="folders of the runs that are compared")
    parser.add_argument("--axis", action="append", default=[], metavar="NAME", help=AXIS_HELP)
    parser.add_argument("--metric", metavar="NAME", default="output_tok_s", help=METRIC_HELP)
    parser.add_argument("--force", action="store_true", help="compare unlike runs too; every verdict is marked")
    parser.add_argument("--fail-if-slower", type=share, metavar="3%", help="a check for CI, by exit code")
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    from offline.compare.comparison import compare
    from offline.compare.gate import check
    from offline.compare.runs import check_axes, compared_run
    from offline.differences.difference import METRICS

    if args.metric not in METRICS:
        raise usage_error(f"--metric is one of {', '.join(METRICS)}, not {args.metric}")
    base = compared_run(args.base, args.axis)
    runs = [compared_run(path, args.axis) for path in args.runs]
    check_axes(args.axis, [base.record, *(run.record for run in runs)])
    if len({path.resolve() for path in (args.base, *args.runs)}) <= len(runs):
        raise usage_error("a run is named twice: compared with itself it says nothing")
    compared = [compare(base, run, args.axis, args.metric, args.force) for run in runs]
    show(compared, [run.unfinished for run in (base, *runs) if run.unfinished])
    if args.fail_if_slower is None:
        return 0
    verdict = check([row for rows in compared for row in rows], args.fail_if_slower)
    print(verdict.sentence)
    return verdict.code


def show(compared: list[list[Difference]], unfinished: list[str]) -> None:
    """The comparisons with the base on standard output: runs that are unfinished, the answers, then all cells."""
    from offline.compare.comparison import HEADINGS, answer, cells_of
    from probes.console import console, show_text, table

    out = console()
    for words in unfinished:
        show_text(out, words, "bold yellow")
    answers = "\n".join(answer(rows) for rows in compared)
    table(out, answers, list(HEADINGS), [cells_of(row) for rows in compared for row in rows], text=(1, 4))
    show_text(out, UNDER)


if __name__ == "__main__":
    run_main(main)
