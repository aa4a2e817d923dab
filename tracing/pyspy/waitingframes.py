"""Which stacks wait and which work: the table of frames in which a thread stands still, and whose thread it is.

py-spy sees no function of C, so a thread that waits is known by the Python frame that it waits in. What is not in the
table works. The names of vLLM's are checked against its source by a test.
"""

from __future__ import annotations

import linecache
from functools import cache

from tracing.pyspy.events import Frame, Stack

WORKING = "working"

# The innermost frame stands here: why. A name of None is every function of the file.
INNERMOST: dict[tuple[str, str | None], str] = {
    ("threading.py", "Condition.wait"): "event or queue",
    ("threading.py", "Thread._wait_for_tstate_lock"): "event or queue",
    ("threading.py", "Thread.join"): "event or queue",
    ("queue.py", "Queue.get"): "event or queue",
    ("concurrent/futures/thread.py", "_worker"): "event or queue",
    ("multiprocessing/synchronize.py", None): "event or queue",
    ("selectors.py", None): "poll",
    ("zmq/sugar/poll.py", None): "poll",
    ("asyncio/runners.py", "Runner.run"): "poll",  # uvloop's loop is C: with no callback on the stack it polls
    ("uvloop/__init__.py", None): "poll",
    ("multiprocessing/connection.py", "Connection._recv"): "receive",
    ("multiprocessing/connection.py", "wait"): "receive",
    ("multiprocessing/resource_tracker.py", "main"): "receive",
    ("multiprocessing/popen_fork.py", "Popen.poll"): "child process",
    ("socket.py", "socket.accept"): "receive",
    ("socket.py", "SocketIO.readinto"): "receive",
    ("zmq/sugar/socket.py", "Socket.recv_multipart"): "receive",
    ("subprocess.py", "Popen._try_wait"): "child process",
    ("subprocess.py", "Popen.communicate"): "child process",
}
# Somewhere on the stack, whatever is inside: a loop that spins until another process writes, or a result comes.
ANYWHERE: dict[tuple[str, str], str] = {
    ("vllm/distributed/device_communicators/shm_broadcast.py", "MessageQueue.acquire_read"): "spin on shared memory",
    ("vllm/distributed/device_communicators/shm_broadcast.py", "MessageQueue.acquire_write"): "spin on shared memory",
    ("concurrent/futures/_base.py", "Future.result"): "future",
}
# The innermost line calls one of these, which are C and leave no frame. Needs the source at its path.
CALLS: dict[str, str] = {"time.sleep(": "sleep", "select.select(": "poll", ".sched_yield(": "sleep"}

# Frames that say whose thread it is, and its process: the outermost one on any stack of the thread.
ENTRIES: dict[tuple[str, str], str] = {
    ("vllm/v1/engine/core.py", "EngineCoreProc.process_input_sockets"): "core input",
    ("vllm/v1/engine/core.py", "EngineCoreProc.process_output_sockets"): "core output",
    ("vllm/v1/engine/core.py", "EngineCoreProc.run_engine_core"): "core",
    ("vllm/v1/executor/multiproc_executor.py", "WorkerProc.worker_main"): "worker",
}
PROCESS_ROLES = ("core", "worker")
VLLM = "vllm/"


def state(stack: Stack) -> str:
    """`working`, or what the stack waits for."""
    for frame in stack:
        if (found := ANYWHERE.get((frame.file, _whole(frame)))) is not None:
            return found
    last = stack[-1]
    found = INNERMOST.get((last.file, _whole(last))) or INNERMOST.get((last.file, None))
    return found or _calls(last)


def entry(stack: Stack) -> str | None:
    """The role that a stack's outermost frames give, if any."""
    return next((ENTRIES[frame.file, frame.name] for frame in stack if (frame.file, frame.name) in ENTRIES), None)


def of_vllm(stack: Stack) -> bool:
    return any(frame.file.startswith(VLLM) for frame in stack)


def _whole(frame: Frame) -> str:
    """Functions inside functions are the outer one's: `Queue.get.<locals>.x` is `Queue.get`."""
    return frame.name.partition(".<locals>")[0]


@cache
def _calls(frame: Frame) -> str:
    line = linecache.getline(frame.path, frame.line)
    return next((state for words, state in CALLS.items() if words in line), WORKING)
