"""The sender: a process of its own that names each request to the variant at its time, and does nothing else.

It sleeps until just before a request is due and then spins: a sleep alone wakes up late by whatever the scheduler
adds. Where it may, it comes before all other processes: beside an engine that spins on every core it would else stand
in the run queue when a request is due. Lateness is when a request was sent less when it was due, and is kept with
every request.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from offline.load.planning.schedule import Schedule, read_schedule
from probes.client.loops import freeze_heap
from probes.errors import EnginescopeError
from probes.processes.dialogue import Message, answer_commands
from probes.processes.engine import EngineProcess

ENTRY = "from offline.variants.sender import main; main()"
NS = 1_000_000_000
LEAD_NS = 100_000_000  # from the connection to the schedule's beginning
SPIN_NS = 300_000  # at 200 requests a second 6 % of a core
CONNECT_LIMIT_S = 120.0  # a variant first waits for the end of what the rate before gave up
Emit = Callable[[int, int, int], None]  # the request's number, when it was due and when it was sent, in ns


def start_sender(log: Path) -> EngineProcess:
    """Start the sender's process; what it says goes to `log`."""
    return EngineProcess(ENTRY, log, {})


def come_first() -> None:
    """Let this process run as soon as it wakes up, whatever else wants its core; nothing where that is not allowed."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))


def wait_until(due_ns: int) -> int:
    """Sleep, then spin until `due_ns`; the time at which that ended."""
    while (left_ns := due_ns - SPIN_NS - time.monotonic_ns()) > 0:
        time.sleep(left_ns / NS)
    while (now_ns := time.monotonic_ns()) < due_ns:
        pass
    return now_ns


def send_open(times_ns: Sequence[tuple[int, int]], emit: Emit) -> None:
    """Emit each request (number, due time) when it is due, whatever became of those before."""
    for number, due_ns in times_ns:
        emit(number, due_ns, wait_until(due_ns))


def send_closed(numbers: Sequence[int], end_ns: int, emit: Emit, wait_for_end: Callable[[], object]) -> None:
    """Emit one request after the other, each when the last one has ended, until `end_ns`."""
    for number in numbers:
        now_ns = time.monotonic_ns()
        if now_ns >= end_ns:
            break
        emit(number, now_ns, now_ns)
        wait_for_end()


@contextlib.contextmanager
def connection(path: str) -> Iterator[socket.socket]:
    """The variant's socket, waited for until it listens."""
    with socket.socket(socket.AF_UNIX) as link:
        deadline = time.monotonic() + CONNECT_LIMIT_S
        while True:
            try:
                link.connect(path)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise EnginescopeError(f"the variant does not listen: {error.strerror}") from error
                time.sleep(0.02)
        yield link


def send_schedule(schedule: Schedule, path: str) -> Message:
    """Send a whole schedule; the beginning and the end of its time, in ns."""
    with connection(path) as link:
        begin_ns = time.monotonic_ns() + LEAD_NS
        end_ns = begin_ns + round(schedule.head.duration_s * NS)

        def emit(number: int, due_ns: int, now_ns: int) -> None:
            link.sendall(b"%d %d %d\n" % (number, due_ns, now_ns))

        wait_until(begin_ns)
        if schedule.head.rate_req_s is None:
            send_closed([each.id for each in schedule.requests], end_ns, emit, lambda: link.recv(1))
            end_ns = time.monotonic_ns()
        else:
            send_open([(each.id, begin_ns + round(each.at_s * NS)) for each in schedule.requests], emit)
            wait_until(end_ns)
        link.sendall(b"end %d %d\n" % (begin_ns, end_ns))
    return {"begin_ns": begin_ns, "end_ns": end_ns}


def answer(command: Message) -> Message:
    """Send the schedule that a command names."""
    schedule = read_schedule(Path(command["schedule"]))
    freeze_heap()
    try:
        return send_schedule(schedule, command["socket"])
    except (BrokenPipeError, ConnectionResetError):  # the variant died, and says so itself
        return {"begin_ns": None, "end_ns": None}


def main() -> None:
    """Serve the load command, which names two inherited file descriptors in `sys.argv`."""
    come_first()
    answer_commands(answer)
