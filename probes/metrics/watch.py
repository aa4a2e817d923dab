"""Windows of a server: one after another, or beside a command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from probes.devices.sampling import DeviceSampler
from probes.errors import INCOMPLETE, EnginescopeError, usage_error
from probes.metrics.endpoint import Endpoint, look
from probes.metrics.exposition import Snapshot, Window
from probes.metrics.quantities import has_any
from probes.metrics.report import window_report

STOP_S = 10.0


def first_look(at: Endpoint) -> Snapshot:
    """The look that a window begins with; refused where no vLLM counts there."""
    snapshot = look(at)
    if not has_any(snapshot):
        raise EnginescopeError(
            f"{at.url} has {len(snapshot.samples)} metrics, but none of vLLM's: either this is another server, "
            "or it was started with --disable-log-stats"
        )
    return snapshot


def run_during(command: list[str], quiet: bool) -> int:
    """Run `command` to its end, with what it started; 3 where it failed. Its output is kept out of our JSON."""
    try:
        child = subprocess.Popen(command, stdout=sys.stderr if quiet else None)
    except OSError as error:
        raise usage_error(f"--during cannot start {command[0]}: {error.strerror}") from None
    try:
        code = child.wait()
    finally:
        _stop(child)
    if code:
        ending = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        print(f"warning: {command[0]} {ending}; the figures span it all the same", file=sys.stderr)
    return INCOMPLETE if code else 0


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a command that is still running, and everything that it started."""
    if child.poll() is not None:
        return
    family = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    for each in psutil.wait_procs(family, timeout=STOP_S)[1]:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    child.wait()


def watch(
    at: Endpoint, before: Snapshot, seconds: float, out: Console, as_json: bool, gpus: DeviceSampler | None = None
) -> None:
    """Window after window until Ctrl-C: a live view on a terminal, a line each elsewhere."""
    with suppress(KeyboardInterrupt):  # the way to end it, not a failure
        if out.is_terminal and not as_json:
            _watch_live(at, before, seconds, out, gpus)
        else:
            _watch_lines(at, before, seconds, as_json, gpus)


def _windows(at: Endpoint, before: Snapshot, seconds: float) -> Iterator[Window | EnginescopeError]:
    """Windows end to end; where the server does not answer, why, and the next window spans the gap."""
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


def _watch_lines(at: Endpoint, before: Snapshot, seconds: float, as_json: bool, gpus: DeviceSampler | None) -> None:
    """One line a window."""
    for window in _windows(at, before, seconds):
        if isinstance(window, EnginescopeError):
            line = json.dumps({"error": str(window)}) if as_json else str(window)
        elif as_json:
            line = json.dumps(window_report(at, window, gpus).as_dict())
        else:
            line = window_report(at, window, gpus).line()
        print(line if as_json else f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def _watch_live(at: Endpoint, before: Snapshot, seconds: float, out: Console, gpus: DeviceSampler | None) -> None:
    """The report, renewed in place."""
    latest: RenderableType = Text(f"{at.url}: the first window takes {seconds:g} s")
    with Live(latest, console=out, auto_refresh=False, vertical_overflow="crop") as live:
        for window in _windows(at, before, seconds):
            if isinstance(window, EnginescopeError):
                live.update(Group(latest, Text(str(window), style="red")), refresh=True)
            else:
                latest = window_report(at, window, gpus).rendered()
                live.update(latest, refresh=True)
