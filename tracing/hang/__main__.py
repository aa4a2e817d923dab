"""`python -m tracing.hang`: who waits for whom in an engine that hangs, live or from pasted dumps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import run_main, usage_error

if TYPE_CHECKING:
    from tracing.hang.explanation import Explanation
    from tracing.hang.situation import Situation

SECONDS = 5.0
EPILOG = """examples:
  python -m tracing.hang 4711                       the engine of this process, any of its processes
  python -m tracing.hang http://127.0.0.1:8000      the server that listens there
  python -m tracing.hang core.txt worker0.txt       pasted dumps of py-spy or faulthandler, logs of vLLM
  python -m tracing.hang 4711 --page hang.html      every stack, folded by stage

exit codes: 0 explained (the first line is the answer), 1 failure, 2 bad usage
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.hang",
        description="Who waits for whom in an engine that hangs, down to the process that holds up all the others. "
        "A running engine is looked at twice; it is not changed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    arguments.add_argument("what", nargs="+", metavar="PID|URL|DUMP", help="a process, a server, or files with dumps")
    arguments.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="S", help=f"time between the two looks (default {SECONDS:g})"
    )
    arguments.add_argument("--json", action="store_true", help="JSON")
    arguments.add_argument("--page", type=Path, metavar="FILE", help="write a page with all stacks too")
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if not 0 < args.seconds < float("inf"):
        raise usage_error(f"--seconds must be more than 0, not {args.seconds:g}")
    situation, explanation = explained(args.what, args.seconds)
    show(situation, explanation, args.json, args.page)
    return 0


def explained(targets: list[str], seconds: float) -> tuple[Situation, Explanation]:
    """The situation of the files, or of the one engine that is named, and its explanation."""
    from tracing.hang import situation as situations
    from tracing.hang.chain import explain
    from tracing.hang.live import look
    from tracing.hang.texts.dumptext import read_files

    live = [target for target in targets if target.isdigit() or "://" in target or is_address(target)]
    if not live:
        reading = situations.of_reading(read_files([Path(target) for target in targets]))
        return reading, explain(reading)
    if targets[1:]:
        raise usage_error("give one process or server, or files alone")
    return look.explained(*look.group_at(targets[0]), seconds)


def is_address(text: str) -> bool:
    """`localhost:8000`: what ends in a port and is no file."""
    return text.rpartition(":")[2].isdigit() and ":" in text and not Path(text).exists()


def show(situation: Situation, explanation: Explanation, as_json: bool, page: Path | None) -> None:
    """Write the page where one is asked for, and print the explanation."""
    from probes.console import console, show_text
    from probes.outputfiles import write_texts
    from tracing.hang import hangjson, report

    if page:
        write_texts({page: report.html(situation, explanation)})
    if as_json:
        print(hangjson.as_json(situation, explanation))
        return
    out = console()
    for line in report.lines(situation, explanation):
        show_text(out, line)
    if page:
        print(f"Wrote {page}")


if __name__ == "__main__":
    run_main(main)
