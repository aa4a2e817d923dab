"""Lists what triggers kept: when, which one, and the likely reason."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import run_main, usage_error

if TYPE_CHECKING:
    from tracing.kept.keeping import Keep

EXAMPLES = """examples:
  ENGINESCOPE_RING=60s vllm serve ORG/NAME
  python -m tracing.attach 4711 --keep 'ttft > 1s' --keep 'step > 100ms' --out traces/kept
  ENGINESCOPE_KEEP='ttft > 1s; preempted' ENGINESCOPE_KEEP_DIR=traces/kept vllm serve ORG/NAME
  python -m tracing.kept traces/kept
  python -m tracing.review traces/kept/<folder>
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.kept",
        description="What was kept by --keep of tracing.attach and tracing.record or by ENGINESCOPE_KEEP: when, by "
        "which condition, and the likely reason.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("folder", type=Path, metavar="DIR", help="the folder that --out named")
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()

    from probes.console import console, table
    from tracing.kept.keeping import kept
    from tracing.kept.reason import reason

    if not args.folder.is_dir():
        raise usage_error(
            f"there is no folder {args.folder}: python -m tracing.attach PID --keep 'ttft > 1s' makes one"
        )
    keeps = kept(args.folder)
    out = console()
    if not keeps:
        check(args.folder)
        out.print(f"{args.folder} holds nothing that was kept", markup=False)
        return 0
    table(
        out,
        "what was kept",
        ["when", "trigger", "took", "request or step", "likely reason"],
        [row(keep, reason(path, keep)) for path, keep in keeps],
        text=(1, 3, 4),
    )
    out.print(f"next: python -m tracing.review {shlex.quote(str(keeps[-1][0]))}", soft_wrap=True, markup=False)
    return 0


def check(folder: Path) -> None:
    """Refuse a folder in which no watch keeps anything; one that has met nothing so far may be empty."""
    from tracing.events import tracefile
    from tracing.kept.keeping import DRAFT, FILE

    if (folder / tracefile.FILE).exists() or any(folder.glob("events-*.bin")):
        review = f"python -m tracing.review {shlex.quote(str(folder))}"
        raise usage_error(f"{folder} is not a folder of --keep; it is a trace: {review}")
    if any(not path.name.endswith(DRAFT) and not (path / FILE).exists() for path in folder.iterdir()):
        raise usage_error(f"{folder} is not a folder of --keep: it holds other files, and nothing that was kept")


def row(keep: Keep, why: str) -> list[str]:
    """A line of the table."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(keep.time))
    trigger = keep.condition + (f" (+{keep.more})" if keep.more else "")
    took = f"{keep.value_ns / 1e6:.1f} ms" if keep.value_ns else ""
    return [when, trigger, took, keep.request or (f"step {keep.step}" if keep.step >= 0 else ""), why]


if __name__ == "__main__":
    run_main(main)
