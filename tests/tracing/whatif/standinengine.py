"""A stand-in for an engine: two real processes that stand by, hooked as vLLM's are, with a pretend device.

The core schedules a step, works for its host's time, gives the step to the device and takes the result of the step
before the last; the front end delivers what it is sent. Work is a sleep, so that other load on the machine matters
little.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from enginescope_plugin import TRACE
from tests.tracing.attach.standingprocess import folder_of
from tests.tracing.hooks.schedulers import Output, Scheduler
from tracing.attach.engine import StandingEngine
from tracing.events import delays, standing
from tracing.hooks import _recorder, recorder
from tracing.hooks.device.devicedelay import DeviceDelays
from tracing.hooks.wrappers import table
from tracing.shapes.pretend.device import PretendDevice, PretendEvent
from tracing.sites.engine import ALL_SITES, CODES

OWN = "tests.tracing.whatif.standinengine"
ROOT = Path(__file__).resolve().parents[3]
STREAMS = 8
MS = 1_000_000
FRONT_END_S = 0.0002


class StandInScheduler(Scheduler):
    """Schedules a token of each stream again and again."""

    def schedule(self) -> Any:
        names = {f"stream {number}": 1 for number in range(STREAMS)}
        return Output(names, generated=dict.fromkeys(names, 5))

    def update_from_output(self, output: Any, result: Any = None) -> Any:
        message = SimpleNamespace(outputs=[None] * STREAMS, finished_requests=None, timestamp=time.monotonic())
        return {0: message}


def hooked(site: str, function: Any) -> Any:
    return table.wrapper_of(ALL_SITES[CODES[site]])(function)


def core(folder: str, host_ns: int, device_ns: int) -> None:
    """Steps beside a pretend device."""
    device = PretendEvent.device
    sys.modules["torch"] = torch_of(device)
    run_steps(folder, host_ns, lambda: device.give(device_ns)[1], lambda end_ns: device.wait_until(end_ns, 0))


def run_steps(folder: str, host_ns: int, give: Callable[[], Any], wait: Callable[[Any], None]) -> None:
    """Steps, of which a line each goes to the front end: the message's timestamp. `give` gives a step's work to the
    device, and `wait` waits for what that returned."""
    recorder.begin(folder, ["core"])
    _recorder.delay_on_device(DeviceDelays().put)
    schedule = hooked("scheduler.schedule", StandInScheduler.schedule)
    update = hooked("scheduler.update", StandInScheduler.update_from_output)
    forward = hooked("runner.forward", give)
    execute = hooked("worker.execute", lambda worker, output: forward())
    scheduler = StandInScheduler()
    in_flight: list[tuple[Any, Any]] = []
    while True:
        output = schedule(scheduler)
        time.sleep(host_ns / 1e9)
        in_flight.append((output, execute(None, output)))
        if len(in_flight) == 2:
            output, given = in_flight.pop(0)
            wait(given)
            print(update(scheduler, output)[0].timestamp, flush=True)


def torch_of(device: PretendDevice) -> Any:
    """What torch is where it has a device."""
    return SimpleNamespace(cuda=SimpleNamespace(Event=PretendEvent, _sleep=device.spin, is_available=lambda: False))


def front_end(folder: str) -> None:
    """Deliver what the core sends."""
    recorder.begin(folder, ["front end"])
    process = hooked("output.process", deliver)
    for line in sys.stdin:
        process(None, [None] * STREAMS, float(line))


def deliver(processor: Any, outputs: list[Any], timestamp: float) -> Any:
    time.sleep(FRONT_END_S)
    return SimpleNamespace(reqs_to_abort=[])


def standing_folder(base: Path) -> Path:
    """As the first process of an engine makes it."""
    folder = folder_of(base, standby=True, ring_bytes=standing.STANDBY_BYTES)
    (folder / delays.FILE).write_bytes(delays.NOTHING)
    return folder


@contextmanager
def stand_in(base: Path, host_ns: int, device_ns: int, module: str = OWN) -> Iterator[StandingEngine]:
    """The engine, while the block lasts; `module` has its core."""
    folder = standing_folder(base)
    standing_engine = StandingEngine(folder, standing.Standing(standing.STANDBY_BYTES, True, os.getpid(), "stand-in"))
    with processes(folder, host_ns, device_ns, module):
        yield standing_engine


@contextmanager
def processes(folder: Path, host_ns: int, device_ns: int, module: str = OWN) -> Iterator[subprocess.Popen[bytes]]:
    """The two processes, while the block lasts; gives the front end's."""
    python = [sys.executable, "-c"]
    core_words = [*python, f"from {module} import core; core({str(folder)!r}, {host_ns}, {device_ns})"]
    front_words = [*python, f"from {OWN} import front_end; front_end({str(folder)!r})"]
    with (
        subprocess.Popen(core_words, cwd=ROOT, stdout=subprocess.PIPE) as one,
        subprocess.Popen(front_words, cwd=ROOT, stdin=one.stdout) as other,
    ):
        try:
            yield other
        finally:
            one.kill()
            other.kill()


def program(base: str) -> None:
    """What a program does that starts the engine and loads it: it stands by where that is asked for."""
    assert os.environ["ENGINESCOPE"] == "standby"
    folder = standing_folder(Path(base))
    os.environ[TRACE] = str(folder)
    with processes(folder, 6 * MS, MS) as front:
        front.wait()


if __name__ == "__main__":
    program(sys.argv[1])
