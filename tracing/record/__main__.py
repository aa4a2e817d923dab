"""Runs any command that uses vLLM with every vLLM process of it watched, and leaves a trace folder.

A trace folder holds per process `events-<pid>.bin` and `process-<pid>.json`, and `trace.json`: what was run, on what
machine, and whether the watchers were where they belong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from enginescope_plugin import KEEPING_RING, LISTENER
from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, terminable, usage_error
from probes.programs import OWN_PYTHON
from tracing.pyspy.sampler import DEFAULT_RATE, check_rate, sampled
from tracing.record.folder import discard, is_empty, new_folder

if TYPE_CHECKING:
    from tracing.record.command import Watchers

DEMONSTRATION = [*OWN_PYTHON, "-m", "tracing.demo"]

EXAMPLES = """examples:
  python -m tracing.record                                 a short demonstration on the default model, reviewed
  python -m tracing.record -- python my_script.py
  python -m tracing.record --out traces/api -- python -m vllm.entrypoints.openai.api_server --model ORG/NAME
  python -m tracing.record -- python -m offline.sweep --batch-size 1,8
  python -m tracing.record --nsys -- python my_script.py     under Nsight Systems; then python -m tracing.nsys FILE
  python -m tracing.record --py-spy -- python my_script.py   sampled by py-spy too; then python -m tracing.pyspy DIR
  python -m tracing.record --standby -- python server.py     recorded only while python -m tracing.attach PID asks
  python -m tracing.record --ring 60s -- python server.py    its last minute, in memory: tracing.attach PID --dump
  python -m tracing.record --keep 'ttft > 1s' -- python server.py   what lies around each slow request: tracing.kept
then:
  python -m tracing.review traces/<folder>
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.record",
        description="Run a command and record what each of its vLLM processes does, changing neither vLLM nor it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("--out", type=Path, metavar="DIR", help="the trace folder (default: traces/<time>-<id>)")
    add_watchers(arguments)
    arguments.add_argument(
        "--partial", action="store_true", help="accept a recording in which a role or a required site was not watched"
    )
    standing = arguments.add_mutually_exclusive_group()
    standing.add_argument(
        "--standby", action="store_true", help="put the hooks in place, and record nothing until tracing.attach does"
    )
    standing.add_argument(
        "--ring", metavar="60s|MiB", help="keep only the latest part, in memory; at the end it is the trace folder"
    )
    arguments.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="CONDITION",
        help="keep in --out only the time around each 'ttft > 1s', 'step > 100ms', 'preempted', …, out of a ring "
        "(default 60s); the conditions are those of tracing.attach --keep",
    )
    arguments.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- CMD …", help="the command to run (default: the demonstration)"
    )
    return arguments


def add_watchers(arguments: CommandParser) -> None:
    """The other watchers that can run beside the recorder."""
    arguments.add_argument(
        "--nvtx",
        action="store_true",
        help="write the spans as NVTX ranges as well (domain enginescope), for the tool that this runs under",
    )
    arguments.add_argument(
        "--nsys",
        action="store_true",
        help="run it under Nsight Systems, with NVTX ranges: writes nsys.nsys-rep and nsys.sqlite",
    )
    arguments.add_argument(
        "--py-spy",
        type=int,
        nargs="?",
        const=DEFAULT_RATE,
        metavar="RATE",
        help=f"sample every process with py-spy as well, RATE times a second (default {DEFAULT_RATE})",
    )


def main() -> int:
    """The command."""
    args = parser().parse_args()

    from tracing.record.command import Watchers

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.command and not command:
        raise usage_error("no command after --; see python -m tracing.record --help")
    if args.standby or args.ring or args.keep:
        from tracing.record.standby import keep, stand_by

        if args.nvtx or args.nsys or args.py_spy is not None:
            raise usage_error("--standby, --ring and --keep cannot be combined with other watchers: use tracing.attach")
        if args.standby and args.keep:
            raise usage_error("--standby keeps no ring: leave it out, --keep brings its own")
        if args.keep:
            return keep(command or DEMONSTRATION, args.keep, args.ring or KEEPING_RING, args.out)
        return stand_by(command or DEMONSTRATION, args.ring, args.out, args.partial)
    if args.py_spy is not None:
        check_rate(args.py_spy)
    if args.nvtx and not args.nsys and LISTENER not in os.environ:
        nobody = f"no tool listens here ({LISTENER} is not set)"
        print(f"--nvtx: {nobody}: no range is made unless CMD starts one", file=sys.stderr)
    watchers = Watchers(args.nvtx or args.nsys, args.nsys, args.py_spy or 0)
    code, folder = recorded(command or DEMONSTRATION, args.out, watchers, args.partial)
    if not command and code == 0:
        from tracing.review import review

        return review(folder)
    return code


def recorded(command: list[str], out: Path | None, watchers: Watchers, partial: bool) -> tuple[int, Path]:
    """Run the command watched and say what was seen; its exit code, or 1 where a watcher was missing, and the folder.

    A command that could not be started, or that an interrupt forestalled, leaves no folder.
    """
    from probes.privacy.commandline import command_line
    from probes.privacy.secretvalues import secret_variables, secret_words
    from tracing.nsys import capture, redaction
    from tracing.record import trace
    from tracing.record.command import run_watched
    from tracing.record.contention import sampled_contention
    from tracing.record.summary import summary
    from tracing.record.watched import linger, missing, patient

    folder, has_run = new_folder(out), False
    try:
        with terminable(), sampled(folder, watchers.py_spy) if watchers.py_spy else contextlib.nullcontext():
            begun = trace.begin(folder, command_line(command), watchers)
            with sampled_contention(folder):
                code = run_watched(command, folder, watchers)
            has_run = True
        with patient():
            left = linger(folder)
            outlived = [f"still running: {', '.join(left)}: the recording did not end"] if left else []
            problems = outlived + missing(folder, command, code) + (capture.finish(folder) if watchers.nsys else [])
    except (EnginescopeError, KeyboardInterrupt):
        if not has_run and not any(folder.glob("process-*.json")):
            discard(folder)
        raise
    finally:  # whatever went wrong, and Ctrl-C too: no key stays in what nsys wrote
        if watchers.nsys:
            for line in redaction.redact(folder, secret_variables(os.environ), secret_words(command)):
                print(line, file=sys.stderr)
    with patient():
        if is_empty(folder, capture.empty_files(folder) if watchers.nsys else ()):
            discard(folder)
        else:
            trace.end(folder, begun, code, problems)
        return summary(folder, code, problems, partial), folder


if __name__ == "__main__":
    run_main(main)
