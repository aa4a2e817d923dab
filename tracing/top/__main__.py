"""Shows what a running engine is doing now, renewed every second."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, terminable, usage_error

if TYPE_CHECKING:
    from rich.console import Console

    from probes.devices.sampling import DeviceSampler, SampledDevice
    from tracing.attach.engine import StandingEngine
    from tracing.top.activity import EngineActivity

PERIOD_S, WINDOW_S = 1.0, 5.0
BEHIND = 10  # in priority: a look still comes every second beside an engine that fills all processors
EXAMPLES = """examples:
  ENGINESCOPE=standby vllm serve ORG/NAME
  python -m tracing.top http://127.0.0.1:8000
  python -m tracing.top 4711 | tee top.log          a line a second where it goes to no terminal
  python -m tracing.top 4711 --seconds 60
"""


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.top",
        description="What a running engine does now: rates, the parts of its steps, its load, the cards, the "
        "longest requests. The engine has to be in standby (ENGINESCOPE=standby) or to keep a ring "
        "(ENGINESCOPE_RING=60s).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("target", metavar="PID|URL", help="a process of the engine, or its address on this machine")
    arguments.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds (default: at Ctrl-C)")
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.seconds is not None and not args.seconds > 0:
        raise usage_error(f"--seconds {args.seconds:g} is no time to look at anything")

    from probes.console import console
    from tracing.attach.engine import check_running, pid_of, standing_engine
    from tracing.attach.switch import turned_on

    pid = pid_of(args.target)
    engine = standing_engine(pid)
    check_running(pid, engine)
    if engine is None:
        raise EnginescopeError(f"process {pid} is not in standby: start it with ENGINESCOPE=standby in its environment")
    seconds = args.seconds or float("inf")
    step_back()
    with contextlib.suppress(KeyboardInterrupt), terminable():  # the way to end it, not a failure
        if not engine.standing.standby:
            show(engine, console(), seconds)
            return 0
        with turned_on(engine):
            show(engine, console(), seconds)
    return 0


def step_back() -> None:
    """Let this process and what it starts come after the engine's."""
    os.nice(BEHIND)


def show(engine: StandingEngine, out: Console, seconds: float) -> None:
    """Window after window: a screen on a terminal, lines elsewhere; with the cards, where a driver knows some."""
    from rich.live import Live

    from probes.devices.reading import read_devices
    from probes.devices.sampling import DeviceSampler
    from tracing.top.screen import line, screen

    title = f"{engine.standing.title} ({engine.standing.pid})"
    gpus = DeviceSampler() if read_devices().devices else None
    with gpus or contextlib.nullcontext():
        if not out.is_terminal:
            for seen in windows(engine, seconds, gpus):
                print(f"{time.strftime('%H:%M:%S')}  {line(seen)}", flush=True)
            return
        with Live(console=out, auto_refresh=False, screen=True) as live:
            for seen in windows(engine, seconds, gpus):
                live.update(screen(title, seen), refresh=True)


def windows(engine: StandingEngine, seconds: float, gpus: DeviceSampler | None = None) -> Iterator[EngineActivity]:
    """What the engine did in the last seconds, every second, until so many have gone by since the first look;
    EnginescopeError once it has ended."""
    from tracing.attach.window import LastSeconds, length_s
    from tracing.events import pinned
    from tracing.top.activity import activity, running
    from tracing.top.useprocess import UseProcess

    window = LastSeconds(engine.folder, WINDOW_S)
    first_seen_s: dict[str, float] = {}
    cards: list[SampledDevice] = []
    with UseProcess(engine.folder) as use:
        for now_s in seconds_until(time.monotonic() + seconds):
            engine.check_lives()
            window.look()
            if files := window.files():
                begun_s = {name: pin.begin_ns / 1e9 for name, pin in pinned.read(engine.folder).items()}
                known_s = first_seen_s | begun_s  # those that have run for long say since when
                first_seen_s = {name: known_s.get(name, now_s) for name in running(files)}
                cards = (gpus.take() or cards) if gpus else cards  # a sample may come just after the look
                yield activity(files, use.latest(), length_s(window.looks), first_seen_s, now_s, cards)


def seconds_until(end_s: float) -> Iterator[float]:
    """The time, every second, until one is at the end or after it; what comes between does not put the next one off."""
    next_s = time.monotonic()
    while next_s < end_s:
        next_s = max(next_s + PERIOD_S, time.monotonic())
        time.sleep(max(0.0, next_s - time.monotonic()))
        yield time.monotonic()


if __name__ == "__main__":
    run_main(main)
