"""`python -m probes.report`: what came of a batch, from its records, with intervals; several batches side by side.

This module is the command; `summary` counts, `sections` puts into words, `views` shows, `values` are for JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import run_main, usage_error

EPILOG = """examples:
  python -m probes.report out.jsonl
  python -m probes.report before.jsonl after.jsonl          side by side: two servers, streamed and not
  python -m probes.report out.jsonl --html report.html --markdown report.md
  python -m probes.report out.jsonl --json | jq .files[0].latency_s.p95

exit codes: 0 done, 2 bad usage or no record in any file, 1 a page that cannot be written, 130 Ctrl-C
"""


def command_line() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.report",
        description="Success, errors, latency, TTFT, ITL and throughput of batches, from the records of probes.batch. "
        "Intervals are by blocks of time, since requests that run side by side share the server's steps; a run shorter "
        "than 16 latencies has none.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="records of a batch; several side by side")
    parser.add_argument("--input", nargs="+", default=[], type=Path, metavar="FILE", help="the same")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="failures and slow answers to list (default 5)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report as Markdown too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page too")
    parser.add_argument("--force", action="store_true", help="let --markdown and --html overwrite")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def main() -> int:
    """The command."""
    args = command_line().parse_args()
    files = [*args.files, *args.input]
    if not files:
        raise usage_error("name a file of records, the --output of probes.batch; two are set side by side")
    if args.top < 1:
        raise usage_error(f"--top must be 1 or more, not {args.top}")
    from probes.console import console
    from probes.outputfiles import refuse_existing, write_texts
    from probes.report.sections import notes, problems, sections
    from probes.report.summary import summarize
    from probes.report.values import as_dict
    from probes.report.views import markdown, page, show_report

    views = {path: view for path, view in ((args.markdown, markdown), (args.html, page)) if path}
    if not args.force:
        refuse_existing(views)
    summaries = [summarize(path, args.top) for path in files]
    if not any(summary.records for summary in summaries):
        raise usage_error(f"no record of a batch in {', '.join(map(str, files))}")
    parts = sections(summaries), problems(summaries), notes(summaries)
    written = write_texts({path: view(*parts) for path, view in views.items()})
    if args.json:
        print(json.dumps({"problems": parts[1], "files": [as_dict(summary) for summary in summaries]}, indent=2))
    else:
        show_report(console(), *parts)
    for path in written:
        print(f"Wrote {path}", file=sys.stderr if args.json else sys.stdout)
    return 0


if __name__ == "__main__":
    run_main(main)
