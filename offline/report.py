"""`python -m offline.report RUN…`: the page of each run, written anew from its records."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import run_main

EPILOG = """examples:
  python -m offline.report results/SmolLM2-135M-Instruct/default/20261125-120000-a1b2c3
  python -m offline.report results/*/default/*             all runs of a variant
  python -m offline.report --markdown RUN > pull-request.md  the same in Markdown, on the standard output
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m offline.report",
        description="Write report.html of a sweep or a load run: the answer in sentences, charts, and all its cells.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--markdown", action="store_true", help="print the run in Markdown instead")
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()

    from offline.load.folder import KIND
    from offline.page.page import write
    from offline.page.reported import reported_run
    from offline.page.summary import summary
    from offline.records.runformat import kind_of
    from offline.table.files import markdown
    from offline.traffic.pages import report

    for folder in args.runs:
        if kind_of(folder) == KIND:
            lines, handout = report.write(folder)
            print("\n".join(lines) if args.markdown else f"Wrote {folder / 'report.html'}\nWrote {handout}")
            continue
        run = reported_run(folder)
        if args.markdown:
            print("\n".join(f"- {sentence}" for sentence in summary(run)), end="\n\n")
            print(markdown(run.rows, run.axes, run.drift, run.record, run.differences))
        else:
            print(f"Wrote {write(folder, run)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_main(main)
