"""`python -m probes.metrics`: what a running vLLM server did in a window of time, from two looks at its `/metrics`.

This module is the command; `exposition` takes the difference, `quantities` names what is counted, `grafana` writes what
a Prometheus and a Grafana need to watch it for longer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import INCOMPLETE, EnginescopeError, run_main, terminable, usage_error

if TYPE_CHECKING:
    from probes.metrics.endpoint import Endpoint
    from probes.metrics.exposition import Snapshot, Window

SECONDS = 5.0
STOP_S = 10.0
EPILOG = """examples:
  python -m probes.metrics http://127.0.0.1:8000                    the next five seconds
  python -m probes.metrics localhost:8000 --seconds 60 --json
  python -m probes.metrics localhost:8000 --watch                   a live view until Ctrl-C; lines in a pipe
  python -m probes.metrics localhost:8000 --during vllm bench serve --model M     as long as that command runs
  python -m probes.metrics localhost:8000 --grafana monitoring      files for Prometheus and Grafana

exit codes: 0 done (also Ctrl-C in --watch, its only end), 3 the command of --during failed (the figures are whole),
2 bad usage, 1 anything else, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m probes.metrics",
        description="What a running vLLM server did in a window of time: deltas of /metrics, not life-time totals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("url", metavar="URL", help="the server, as http://host:port or host:port")
    made.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help="length of a window (default 5)")
    made.add_argument("--json", action="store_true", help="JSON; one object a line with --watch")
    made.add_argument("--force", action="store_true", help="let --grafana overwrite its files")
    ways = made.add_mutually_exclusive_group()
    ways.add_argument("--watch", action="store_true", help="one window after the other")
    ways.add_argument("--grafana", type=Path, metavar="DIR", help="write a dashboard and prometheus.yml, and stop")
    ways.add_argument(
        "--during", nargs=argparse.REMAINDER, metavar="CMD", help="run a command (all words that follow) as the window"
    )
    return made


def main() -> int:
    """The command."""
    from probes.metrics.endpoint import endpoint

    args = parser().parse_args()
    if not 0 < args.seconds < float("inf"):
        raise usage_error(f"--seconds must be more than 0, not {args.seconds:g}")
    if args.during is not None and not args.during:
        raise usage_error("--during needs a command, after all other options: --during python load.py")
    at = endpoint(args.url)
    if args.grafana:
        from probes.metrics.grafana import write

        for path in write(at, args.grafana, args.force):
            print(f"Wrote {path}")
        return 0
    with terminable():
        before = first_look(at)
        if args.watch:
            return watch(at, before, args.seconds, args.json)
        code = spanned(args.during, args.json) if args.during else wait(args.seconds)
        return show(at, before, args.json, code)


# --- the window ---


def first_look(at: Endpoint) -> Snapshot:
    """The look that a window begins with; refused where no vLLM counts there."""
    from probes.metrics.endpoint import look
    from probes.metrics.quantities import has_any

    seen = look(at)
    if not has_any(seen):
        raise EnginescopeError(
            f"{at.url} has {len(seen.samples)} metrics, but none of vLLM's: either this is another server, "
            "or it was started with --disable-log-stats"
        )
    return seen


def wait(seconds: float) -> int:
    """Let the window pass."""
    time.sleep(seconds)
    return 0


def spanned(command: list[str], quiet: bool) -> int:
    """Run `command` to its end, with what it started; 3 where it failed. Its output is kept out of our JSON."""
    try:
        child = subprocess.Popen(command, stdout=sys.stderr if quiet else None)
    except OSError as error:
        raise usage_error(f"--during cannot start {command[0]}: {error.strerror}") from None
    try:
        code = child.wait()
    finally:
        stop(child)
    if code:
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        print(f"warning: {command[0]} {ended}; the figures span it all the same", file=sys.stderr)
    return INCOMPLETE if code else 0


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a command that is still running, and everything that it started."""
    import psutil

    if child.poll() is not None:
        return
    family = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
    for each in family:
        _quietly(each.terminate)
    for each in psutil.wait_procs(family, timeout=STOP_S)[1]:
        _quietly(each.kill)
    child.wait()


def _quietly(end: Any) -> None:
    import psutil

    try:
        end()
    except psutil.NoSuchProcess:
        return


def show(at: Endpoint, before: Snapshot, as_json: bool, code: int) -> int:
    """Look again, and print what happened since."""
    from probes.metrics.endpoint import look
    from probes.metrics.exposition import Window
    from probes.metrics.table import console

    window = Window(before, look(at))
    if as_json:
        print(json.dumps(as_dict(at, window), indent=2))
    else:
        console().print(rendered(at, window))
    return code


def as_dict(at: Endpoint, window: Window) -> dict[str, Any]:
    """A window for JSON: all engines together, then each."""
    from probes.metrics.quantities import engines, figures, missing

    each = {name: figures(window, name).as_dict() for name in engines(window.after)}
    absent = [quantity.key for quantity in missing(window.after)]
    return {"url": at.url, "missing": absent, **figures(window).as_dict(), "engines": each}


def rendered(at: Endpoint, window: Window) -> Any:
    """A window for the terminal."""
    from probes.metrics.quantities import engines, figures, missing
    from probes.metrics.table import report

    each = {name: figures(window, name) for name in engines(window.after)}
    title = f"{at.url}, {window.seconds:.1f} s to {time.strftime('%H:%M:%S')}"
    return report(figures(window), each, [quantity.title for quantity in missing(window.after)], title)


# --- the live view ---


def watch(at: Endpoint, before: Snapshot, seconds: float, as_json: bool) -> int:
    """Window after window until Ctrl-C: a live view on a terminal, a line each elsewhere."""
    from probes.metrics.table import console

    out = console()
    try:
        if out.is_terminal and not as_json:
            watch_live(at, before, seconds, out)
        else:
            watch_lines(at, before, seconds, as_json)
    except KeyboardInterrupt:
        return 0  # the way to end it, not a failure
    return 0


def windows(at: Endpoint, before: Snapshot, seconds: float) -> Iterator[Window | EnginescopeError]:
    """Windows end to end; where the server does not answer, why, and the next window spans the gap."""
    from probes.metrics.endpoint import look
    from probes.metrics.exposition import Window

    due = time.monotonic()
    while True:
        due = max(due + seconds, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            window = Window(before, look(at))
        except EnginescopeError as error:
            yield error
            continue
        yield window
        before = window.after


def watch_lines(at: Endpoint, before: Snapshot, seconds: float, as_json: bool) -> None:
    """One line a window."""
    from probes.metrics.quantities import figures
    from probes.metrics.table import short_line

    for seen in windows(at, before, seconds):
        clock = time.strftime("%H:%M:%S")
        if as_json:
            line = json.dumps({"error": str(seen)} if isinstance(seen, EnginescopeError) else as_dict(at, seen))
        else:
            line = f"{clock}  {seen if isinstance(seen, EnginescopeError) else short_line(figures(seen))}"
        print(line, flush=True)


def watch_live(at: Endpoint, before: Snapshot, seconds: float, out: Any) -> None:
    """The report, renewed in place."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    latest: Any = Text(f"{at.url}: the first window takes {seconds:g} s")
    with Live(latest, console=out, auto_refresh=False, vertical_overflow="crop") as live:
        for seen in windows(at, before, seconds):
            if isinstance(seen, EnginescopeError):
                live.update(Group(latest, Text(str(seen), style="red")), refresh=True)
            else:
                latest = rendered(at, seen)
                live.update(latest, refresh=True)


if __name__ == "__main__":
    run_main(main)
