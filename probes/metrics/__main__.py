"""`python -m probes.metrics`: what a running vLLM server did in a window of time, from two looks at its `/metrics`.

This module is the command; `exposition` takes the difference, `quantities` names what is counted, `findings` says
what stands out, `report` and `watch` show windows, `grafana` writes what watching for longer takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, terminable, usage_error

if TYPE_CHECKING:
    from probes.devices.sampling import DeviceSampler
    from probes.metrics.endpoint import Endpoint

SECONDS = 5.0
EPILOG = """examples:
  python -m probes.metrics http://127.0.0.1:8000                    the next five seconds
  python -m probes.metrics localhost:8000 --seconds 60 --json
  python -m probes.metrics localhost:8000 --watch                   a live view until Ctrl-C; lines in a pipe
  python -m probes.metrics localhost:8000 --during vllm bench serve --model M     as long as that command runs
  python -m probes.metrics localhost:8000 --grafana monitoring      files for Prometheus and Grafana

exit codes: 0 done (also Ctrl-C in --watch, its only end), 3 the command of --during failed (the figures are whole),
2 bad usage, 1 anything else, 130 Ctrl-C
"""


def command_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.metrics",
        description="What a running vLLM server did in a window of time: deltas of /metrics, not totals since start.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="the server, as http://host:port or host:port")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help="length of a window (default 5)")
    parser.add_argument("--json", action="store_true", help="JSON; one object a line with --watch")
    parser.add_argument(
        "--gpus",
        action=argparse.BooleanOptionalAction,
        help="this machine's GPUs too, sampled each second (default: where the server is here and a driver knows one)",
    )
    parser.add_argument("--force", action="store_true", help="let --grafana overwrite its files")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--watch", action="store_true", help="one window after another, until Ctrl-C")
    ways.add_argument("--grafana", type=Path, metavar="DIR", help="write a dashboard and the files to run it, and stop")
    ways.add_argument(
        "--during", nargs=argparse.REMAINDER, metavar="CMD", help="run a command (all words that follow) as the window"
    )
    return parser


def main() -> int:
    """The command."""
    args = command_parser().parse_args()
    if not 0 < args.seconds < float("inf"):
        raise usage_error(f"--seconds must be more than 0, not {args.seconds:g}")
    if args.during is not None and not args.during:
        raise usage_error("--during needs a command, after all other options: --during python load.py")
    from probes.metrics.endpoint import endpoint

    at = endpoint(args.url)
    if args.grafana:
        return write_files(at, args.grafana, args.force)
    gpus = sampling(at, args.gpus)
    with terminable(), gpus or contextlib.nullcontext():
        return show(at, args, gpus)


def write_files(at: Endpoint, folder: Path, force: bool) -> int:
    """Write what Prometheus and Grafana need."""
    from probes.metrics.grafana.files import write

    for path in write(at, folder, force):
        print(f"Wrote {path}")
    return 0


def sampling(at: Endpoint, asked: bool | None) -> DeviceSampler | None:
    """The sampler of this machine's GPUs; refused where it was asked for and cannot be, None where it was not."""
    from probes.devices.reading import read_devices
    from probes.devices.sampling import DeviceSampler

    if asked is False:
        return None
    if not at.is_local:
        if asked:
            raise usage_error(f"--gpus reads this machine's GPUs, and {at.host} is another: run it there")
        return None
    reading = read_devices()
    if asked and not reading.devices:
        reasons = "; ".join(reading.problems) or "no NVIDIA or AMD driver knows one"
        raise EnginescopeError(f"--gpus found no GPU here: {reasons}")
    return DeviceSampler() if reading.devices else None


def show(at: Endpoint, args: argparse.Namespace, gpus: DeviceSampler | None = None) -> int:
    """One window, or one after another."""
    from probes import console
    from probes.metrics.endpoint import look
    from probes.metrics.exposition import Window
    from probes.metrics.report import window_report
    from probes.metrics.watch import first_look, run_during, watch

    before, code = first_look(at), 0
    if args.watch:
        watch(at, before, args.seconds, console.console(), args.json, gpus)
        return 0
    if args.during:
        code = run_during(args.during, args.json)
    else:
        time.sleep(args.seconds)
    report = window_report(at, Window(before, look(at)), gpus)
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        console.show(console.console(), report.rendered())
    return code


if __name__ == "__main__":
    run_main(main)
