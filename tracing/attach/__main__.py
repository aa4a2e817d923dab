"""Records an engine that is already running: what it does next, or what its rings still hold."""

from __future__ import annotations

import argparse
import shlex
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.console import counted
from probes.errors import EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    from tracing.attach.engine import StandingEngine
    from tracing.attach.liveprofile import LiveProfile
    from tracing.kept.condition import Condition
    from tracing.otlp.exporter import Exporter

SECONDS = 10.0
PROFILED_S = 60.0  # within which the steps of --torch or --nsys have to come
DAY_S = 24 * 3600
FOR_GOOD_S = 365 * DAY_S
EXAMPLES = """examples:
  ENGINESCOPE=standby vllm serve ORG/NAME                    a server that can be looked at later
  python -m tracing.attach http://127.0.0.1:8000             its next 10 seconds, as a trace folder
  python -m tracing.attach 4711 --seconds 30 --out traces/slow
  ENGINESCOPE_RING=60s vllm serve ORG/NAME                   a server that remembers its last minute
  python -m tracing.attach 4711 --dump                       that minute, also after the server was killed
  python -m tracing.attach 4711 --keep 'ttft > 1s' --out traces/kept     what lies around each slow one
  python -m tracing.attach http://127.0.0.1:8000 --torch 20  20 steps with torch's profiler on the same clock
  python -m tracing.attach http://127.0.0.1:8000 --keep 'step > 100ms' --torch 20    20 steps after each slow one
  python -m tracing.attach 4711 --otlp http://127.0.0.1:4318 --sample 1%    requests as OpenTelemetry's spans
then:
  python -m tracing.review traces/<folder>
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.attach",
        description="Record a running engine that was started with ENGINESCOPE=standby or ENGINESCOPE_RING. "
        "An engine that was started with neither is sampled by py-spy.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("target", metavar="PID|URL", help="a process of the engine, or its address on this machine")
    arguments.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"how long to record (default {SECONDS:g}; with --keep or --otlp: until Ctrl-C)",
    )
    add_engine_options(arguments)
    arguments.add_argument(
        "--otlp",
        metavar="URL",
        help="send every request that ends from now on to an OpenTelemetry collector (OTLP over HTTP), with where its "
        "time went, and write no folder; with --keep only the requests for which something was kept",
    )
    arguments.add_argument("--sample", metavar="SHARE", help="of the traces that --otlp sends: 1%%, say (default: all)")
    arguments.add_argument("--out", type=Path, metavar="DIR", help="the trace folder (default: traces/<time>-<id>)")
    arguments.add_argument(
        "--partial", action="store_true", help="accept a recording in which a role or a required site was not watched"
    )
    return arguments


def add_engine_options(arguments: CommandParser) -> None:
    """What can be asked of an engine that was started for it."""
    options = arguments.add_mutually_exclusive_group()
    profilers = arguments.add_mutually_exclusive_group()
    options.add_argument("--dump", action="store_true", help="write what the rings hold now, and record nothing")
    options.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="CONDITION",
        help="keep from the ring the time around 'ttft > 1s', 'latency > p99 * 2', 'itl > 200ms', 'step > 100ms', "
        "'stuck > 30s' (a hang), 'preempted' or 'error' in --out, until Ctrl-C, --seconds are over or the engine has "
        "ended; may be given several times",
    )
    profilers.add_argument(
        "--torch",
        type=int,
        metavar="STEPS",
        help="also run vLLM's own torch profiler for this many steps, on a server that was started with it; with "
        "--keep, from each trigger on",
    )
    profilers.add_argument(
        "--nsys", type=int, metavar="STEPS", help="the same with the capture range of Nsight Systems"
    )


def main() -> int:
    """The command."""
    args = parser().parse_args()
    check(args)

    from tracing.attach import recording, unwatched
    from tracing.attach.engine import check_running, pid_of, standing_engine
    from tracing.kept.condition import parse
    from tracing.otlp.exporter import Exporter, share
    from tracing.record.folder import new_folder

    conditions = [parse(text) for text in args.keep]
    sent = share(args.sample or "100%")
    pid = pid_of(args.target)
    engine = standing_engine(pid)
    if engine and args.dump and not engine.standing.standby:
        return recording.dump(engine, new_folder(args.out), args.partial)
    check_running(pid, engine)
    if args.dump or (conditions and (engine is None or engine.standing.standby)):
        raise EnginescopeError(f"process {pid} keeps no ring: start it with ENGINESCOPE_RING=60s in its environment")
    if engine is None and (args.otlp or args.torch or args.nsys):
        raise EnginescopeError(f"process {pid} is not in standby: start it with ENGINESCOPE=standby in its environment")
    exporter = Exporter(args.otlp, sent) if args.otlp else None
    profile = profile_of(args.target, pid, args.torch, args.nsys) if engine else None
    if engine and conditions:
        return keep(engine, conditions, args.out or new_folder(None), exporter, profile, args.seconds or FOR_GOOD_S)
    if engine and exporter:
        return stream(engine, exporter, args.seconds or FOR_GOOD_S)
    if engine:
        seconds = args.seconds or (PROFILED_S if args.torch else SECONDS)
        return recording.record(engine, new_folder(args.out), seconds, args.partial, profile)
    folder = new_folder(args.out)
    unwatched.sample(pid, args.target, folder, args.seconds or SECONDS)
    print(f"Wrote {folder}\nnext: python -m tracing.pyspy {shlex.quote(str(folder))}")
    return 0


def check(args: argparse.Namespace) -> None:
    """Refuse what goes not together, or means nothing."""
    if args.seconds is not None and not 0 < args.seconds <= DAY_S:
        raise usage_error(f"--seconds {args.seconds:g} is not between 0 and a day")
    if args.sample and not args.otlp:
        raise usage_error("--sample is a share of what --otlp sends: name the collector too")
    if args.dump and (args.torch is not None or args.nsys is not None):
        raise usage_error("--dump writes what the rings hold: --torch and --nsys are of steps that come")
    if args.otlp and (args.dump or args.torch is not None or args.nsys is not None):
        raise usage_error("--otlp can be combined with --keep only")
    if not all(steps is None or steps > 0 for steps in (args.torch, args.nsys)):
        raise usage_error("--torch and --nsys take a number of steps, of at least 1")
    if (args.torch or args.nsys) and args.target.isdecimal():
        raise usage_error("--torch and --nsys ask the server: give its address, as http://127.0.0.1:8000")


def profile_of(target: str, pid: int, torch: int | None, nsys: int | None) -> LiveProfile | None:
    """What is asked of the server's profiler; None for nothing."""
    from probes.metrics.endpoint import endpoint
    from tracing.attach.liveprofile import live_profile

    if torch:
        return live_profile(endpoint(target), pid, "torch", torch)
    return live_profile(endpoint(target), pid, "nsys", nsys) if nsys else None


def keep(
    engine: StandingEngine,
    conditions: list[Condition],
    folder: Path,
    exporter: Exporter | None,
    profile: LiveProfile | None,
    seconds: float,
) -> int:
    """Keep what lies around what meets a condition, with a profile of the steps that follow it, and send its requests
    where a collector is named."""
    from tracing.kept.following import FollowingProfile
    from tracing.kept.keeping import Keeper, following
    from tracing.otlp.keeps import send

    keeper = Keeper(engine, conditions, folder, profile=FollowingProfile(profile) if profile else None)
    if exporter:
        keeper.after = partial(send, exporter)
    keeper.watch(time.monotonic_ns() + round(seconds * 1e9))
    print(following(folder))
    return 0


def stream(engine: StandingEngine, exporter: Exporter, seconds: float) -> int:
    """Send requests as they end."""
    from tracing.attach.switch import turned_on
    from tracing.otlp.stream import LONGEST_S, RequestStream

    requests = RequestStream(engine, exporter)
    until_ns = time.monotonic_ns() + round(seconds * 1e9)
    with turned_on(engine) if engine.standing.standby else nullcontext():
        requests.run(until_ns)
    print(f"{counted(requests.sent, 'request')} sent to {exporter.url}")
    if requests.left_out:
        print(f"{requests.left_out} had begun before the watch, or took longer than {LONGEST_S:g} s: left out")
    return 0


if __name__ == "__main__":
    run_main(main)
