"""`python -m offline.workload`: shows, makes and fetches what requests look like, for `offline.load --workload`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import run_main, terminable, usage_error

if TYPE_CHECKING:
    from offline.workload.source import WorkloadSource

SOURCE_HELP = "alpaca, sharegpt, mixture (synthetic), a mix profile, or a file of prompts or items"
MODEL_HELP = "whose tokenizer reads a file (default: the default model)"
LENGTH_HELP = "where a file names no length (default 64)"
EPILOG = """examples:
  python -m offline.workload show alpaca                       lengths of a built-in profile, which is synthetic
  python -m offline.workload show prompts.jsonl --page lengths.html
  python -m offline.workload make mixture --count 500 --out mixture.jsonl
  python -m offline.workload from-trace traces/<folder> --out production.jsonl
  python -m offline.workload fetch sharegpt                    the public set, where a hub can be reached

A mix profile is a JSON file: offline/workload/profiles/ has three to copy. Files of prompts are those of probes.batch:
ShareGPT, Alpaca, JSON lines of prompts or messages, OpenAI's batch format, tables.
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m offline.workload",
        description="What requests look like: lengths, shared prefixes, sampling, and recorded arrivals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="show|make|from-trace|fetch")
    show = verbs.add_parser("show", help="the lengths of a workload", description="The lengths of a workload.")
    show.add_argument("source", metavar="WORKLOAD", help=SOURCE_HELP)
    show.add_argument("--page", type=Path, metavar="FILE.html", help="a page with a chart too")
    make = verbs.add_parser("make", help="a file of items", description="Write a workload as a file of items.")
    make.add_argument("source", metavar="WORKLOAD", help=SOURCE_HELP)
    make.add_argument("--count", type=int, metavar="N", help="requests (default: all of a file, 1000 of a profile)")
    make.add_argument("--seed", type=int, default=0, metavar="N", help="drawn from it (default 0)")
    trace = verbs.add_parser("from-trace", help="arrivals, lengths and prefix sharing of a recorded trace, no content")
    trace.add_argument("source", type=Path, metavar="DIR", help="a trace folder of tracing.record")
    fetch = verbs.add_parser("fetch", help="a public set, from a hub or a mirror")
    fetch.add_argument("source", choices=("sharegpt", "alpaca"))
    for verb in (show, make):
        verb.add_argument("--model", default="", metavar="M", help=MODEL_HELP)
        verb.add_argument("--output-tokens", type=int, default=64, metavar="N", help=LENGTH_HELP)
    for verb in (make, trace):
        verb.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="where the items go")
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    with terminable():
        if args.verb == "fetch":
            return fetched(args.source)
        if args.verb == "from-trace":
            from offline.workload.fromtrace import read_trace

            return written(read_trace(args.source), args.out)
        source = named(args)
        return shown(source, args.page) if args.verb == "show" else written(counted(source, args), args.out)


def named(args: argparse.Namespace) -> WorkloadSource:
    """The workload that a command line names, and on standard error what was left out of it."""
    from offline.spec import model as models
    from offline.workload.files import read_workload

    source = read_workload(args.source, str(models.find(args.model, "dummy")), args.output_tokens)
    for remark in source.remarks:
        print(f"note: {remark}", file=sys.stderr)
    return source


def shown(source: WorkloadSource, page: Path | None) -> int:
    """The table of lengths, and the page."""
    from offline.records.runfolder import write_whole
    from offline.workload.statistics import COLUMNS, chart_page, length_rows, sample
    from probes.console import console, table

    out, items = console(), sample(source)
    out.print(str(source), highlight=False, soft_wrap=True)
    table(out, "lengths in tokens", COLUMNS, length_rows(items))
    if page:
        write_whole(page, chart_page(source, items))
        print(f"Wrote {page}")
    return 0


def counted(source: WorkloadSource, args: argparse.Namespace) -> WorkloadSource:
    """A workload as a list of so many items."""
    from dataclasses import replace
    from itertools import islice

    if args.count is not None and args.count < 1:
        raise usage_error(f"--count must be 1 or more, not {args.count}")
    if args.count is None and source.items:
        return source
    return replace(source, profile=None, items=tuple(islice(source.draw(args.seed), args.count or 1000)))


def written(source: WorkloadSource, path: Path) -> int:
    """Write a file of items, and say how to use it."""
    from offline.workload.source import write_items

    write_items(path, source)
    replay = " --arrivals recorded" if source.recording else " --rates 1,2,4"
    print(f"{len(source.items)} requests; use them with python -m offline.load --workload {path}{replay}\nWrote {path}")
    return 0


def fetched(name: str) -> int:
    """Fetch a public set, and say where it is."""
    from rich.console import Console

    from offline.workload.fetch import SETS, fetch

    with Console(stderr=True).status(f"fetching {name}") as status:
        path = fetch(SETS[name], lambda size: status.update(f"fetching {name}: {size / 2**20:.0f} MiB"))
    print(path)
    return 0


if __name__ == "__main__":
    run_main(main)
