"""Prints what py-spy's samples say: who works and who waits, and what the Python of every stage is doing."""

from __future__ import annotations

import argparse
from pathlib import Path

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, usage_error
from tracing.pyspy.sampler import DEFAULT_RATE, Sampler, check_rate

ATTACH = "attach"
SECONDS = 10.0
TOP = 5
EXAMPLES = """examples:
  python -m tracing.record --py-spy -- python my_script.py
  python -m tracing.pyspy traces/<folder>               what was sampled, by role, thread, stage and line
  python -m tracing.pyspy traces/<folder> --top 12      more lines of each stage
  python -m tracing.pyspy attach 4711 --seconds 20      a running engine: the process id of its front end

writes samples.folded (flame graph tools) and samples.speedscope.json (speedscope) into the folder
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.pyspy",
        description="The engine's Python stacks as py-spy sampled them: from a trace folder, or from a running engine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("what", metavar="DIR|attach", help="a trace folder with samples, or the word attach")
    arguments.add_argument(
        "pid", nargs="?", type=int, metavar="PID", help="with attach: the process whose tree is sampled"
    )
    arguments.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="S", help=f"with attach: how long (default {SECONDS:g})"
    )
    arguments.add_argument(
        "--rate",
        type=int,
        default=DEFAULT_RATE,
        metavar="N",
        help=f"with attach: samples a second (default {DEFAULT_RATE})",
    )
    arguments.add_argument(
        "--out", type=Path, metavar="DIR", help="with attach: the folder to write (default: traces/<time>-<id>)"
    )
    arguments.add_argument(
        "--top", type=int, default=TOP, metavar="N", help=f"lines to show of each stage (default {TOP})"
    )
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if (args.what == ATTACH) != (args.pid is not None):
        raise usage_error("give a trace folder, or attach and a process id; see python -m tracing.pyspy --help")
    folder = attach(args.pid, args.seconds, args.rate, args.out) if args.what == ATTACH else Path(args.what)
    return show(folder, args.top)


def attach(pid: int, seconds: float, rate: int, out: Path | None) -> Path:
    """Sample the tree of a running process; the folder with what was seen."""
    import psutil

    from tracing.record.folder import new_folder

    check_rate(rate)
    if not psutil.pid_exists(pid):
        raise EnginescopeError(f"there is no process {pid}: find the engine's front end with ps aux | grep -i vllm")
    folder = new_folder(out)
    with Sampler(folder, pid, rate, beacon=False) as sampler:
        sampler.wait(seconds)
    return folder


def show(folder: Path, top: int) -> int:
    """Write a folder's samples for other viewers, and print their tables."""
    from probes.console import console
    from tracing import timeline
    from tracing.page.tables.watchers import show_samples
    from tracing.pyspy import attribution, samples, stacks, tables

    read = samples.read(folder)
    spans = timeline.read(folder) if any(folder.glob("events-*.bin")) else None
    frame = attribution.attributed(read, spans)
    folded, speedscope = folder / "samples.folded", folder / "samples.speedscope.json"
    try:
        stacks.folded(read, frame, folded)
        stacks.speedscope(read, frame, speedscope, folder.resolve().name)
    except OSError as error:
        raise EnginescopeError(f"cannot write {error.filename}: {error.strerror}") from None
    out = console()
    show_samples(tables.figures(read, frame, spans, top), out)
    for path in (folded, speedscope):
        out.print(f"Wrote {path}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    run_main(main)
