"""Which stacks wait and which work: the table of frames in which a thread stands still, and whose thread it is.

py-spy sees no function of C, so a thread that waits is known by the Python frame that it waits in. What is not in the
table works. The names of the standard library, torch and vLLM are checked against their sources by a test.
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from tracing.pyspy.events import Frame, Stack

WORKING, POLL, QUEUE, RECEIVE, CHILD = "working", "poll", "event or queue", "receive", "child process"
SPIN, FUTURE, SLEEP = "spin on shared memory", "future", "sleep"
GPU = "GPU"
# A launch returns at once, unless the device's queue is full: then it waits there for the GPU too.
LAUNCH = "GPU launch"
NCCL, COLLECTIVE = "NCCL", "collective"  # the other ranks, by NCCL alone or by any backend of torch

Key = tuple[str, str | None]  # file, function; None is every function of the file
V = TypeVar("V")

# The innermost frame stands here: why.
INNERMOST: dict[Key, str] = {
    ("threading.py", "Condition.wait"): QUEUE,
    ("threading.py", "Thread._wait_for_tstate_lock"): QUEUE,  # up to 3.12
    ("threading.py", "Thread.join"): QUEUE,  # from 3.13 on the join itself is C
    ("threading.py", "_shutdown"): QUEUE,  # at its end a program waits for its threads
    ("queue.py", "Queue.get"): QUEUE,
    ("concurrent/futures/thread.py", "_worker"): QUEUE,
    ("multiprocessing/synchronize.py", None): QUEUE,
    ("selectors.py", None): POLL,
    ("zmq/sugar/poll.py", None): POLL,
    ("asyncio/runners.py", "Runner.run"): POLL,  # uvloop's loop is C: with no callback on the stack it polls
    ("uvloop/__init__.py", None): POLL,
    ("multiprocessing/connection.py", "Connection._recv"): RECEIVE,
    ("multiprocessing/connection.py", "wait"): RECEIVE,
    ("multiprocessing/resource_tracker.py", "main"): RECEIVE,
    ("multiprocessing/popen_fork.py", "Popen.poll"): CHILD,
    ("socket.py", "socket.accept"): RECEIVE,
    ("socket.py", "SocketIO.readinto"): RECEIVE,
    ("zmq/sugar/socket.py", "Socket.recv_multipart"): RECEIVE,
    ("subprocess.py", "Popen._try_wait"): CHILD,
    ("subprocess.py", "Popen.communicate"): CHILD,
    ("torch/cuda/__init__.py", "synchronize"): GPU,
    ("torch/cuda/streams.py", "Event.synchronize"): GPU,
    ("torch/cuda/streams.py", "Stream.synchronize"): GPU,
    ("torch/cuda/memory.py", "empty_cache"): GPU,  # freeing waits until the memory is unused
    ("torch/accelerator/__init__.py", "synchronize"): GPU,
    ("torch/accelerator/memory.py", "empty_cache"): GPU,
    ("torch/xpu/__init__.py", "synchronize"): GPU,
    ("torch/xpu/streams.py", "Event.synchronize"): GPU,
    ("torch/xpu/streams.py", "Stream.synchronize"): GPU,
    ("torch/mtia/__init__.py", "synchronize"): GPU,
    ("torch/cuda/graphs.py", "CUDAGraph.replay"): LAUNCH,
    ("triton/runtime/jit.py", "JITFunction.run"): LAUNCH,  # the launcher that it calls is C in most versions
    ("triton/compiler/compiler.py", "CompiledKernel.__getitem__"): LAUNCH,
    ("torch/_inductor/runtime/static_triton_launcher.py", "StaticallyLaunchedTritonKernel.run"): LAUNCH,
    ("triton/backends/nvidia/driver.py", "CudaLauncher.__call__"): LAUNCH,
    ("triton/backends/amd/driver.py", "HIPLauncher.__call__"): LAUNCH,
    ("torch/cuda/nccl.py", None): NCCL,
    ("vllm/distributed/device_communicators/pynccl_wrapper.py", None): NCCL,
    ("torch/distributed/distributed_c10d.py", None): COLLECTIVE,
}
# Somewhere on the stack, whatever is inside: a loop that spins until another process writes, or a result comes. Only a
# poll inside is a poll: vLLM's reader spins for its first second, and then blocks in zmq until it is notified.
ANYWHERE: dict[Key, str] = {
    ("vllm/distributed/device_communicators/shm_broadcast.py", "MessageQueue.acquire_read"): SPIN,
    ("vllm/distributed/device_communicators/shm_broadcast.py", "MessageQueue.acquire_write"): SPIN,
    ("concurrent/futures/_base.py", "Future.result"): FUTURE,
}
# The innermost line calls one of these, which are C and leave no frame. Needs the source at its path.
CALLS: dict[str, str] = {
    "time.sleep(": SLEEP,
    "select.select(": POLL,
    ".sched_yield(": SLEEP,
    ".synchronize(": GPU,  # of `torch.Event` and `torch.Stream`, which are C
}

# Frames that say whose thread it is, and its process: the innermost one on any stack of the thread. The stack of a
# forked process goes on from that of its parent, whose entry stands further out.
ENTRIES: dict[Key, str] = {
    ("vllm/v1/engine/core.py", "EngineCoreProc.process_input_sockets"): "core input",
    ("vllm/v1/engine/core.py", "EngineCoreProc.process_output_sockets"): "core output",
    ("vllm/v1/engine/core.py", "EngineCoreProc.run_engine_core"): "core",
    ("vllm/v1/executor/multiproc_executor.py", "WorkerProc.worker_main"): "worker",
}
PROCESS_ROLES = ("core", "worker")
VLLM = "vllm/"


def with_bare(table: Mapping[Key, V]) -> dict[Key, V]:
    """A table that knows functions without their class too: py-spy before 0.4.3 writes only `wait` for
    `Condition.wait`. In no file of the tables do two functions of one name mean different things."""
    bare: dict[Key, V] = {(file, name.rpartition(".")[2]): value for (file, name), value in table.items() if name}
    return {**bare, **table}


_INNERMOST, _ANYWHERE, _ENTRIES = with_bare(INNERMOST), with_bare(ANYWHERE), with_bare(ENTRIES)


def state(stack: Stack) -> str:
    """`working`, or what the stack waits for."""
    last = stack[-1]
    innermost = _INNERMOST.get(key_of(last)) or _INNERMOST.get((last.file, None))
    if innermost == POLL:
        return POLL
    around = next((_ANYWHERE[key] for key in map(key_of, stack) if key in _ANYWHERE), None)
    return around or innermost or _calls(last)


def entry(stack: Stack) -> str | None:
    """The role that a stack's innermost entry gives, if any."""
    return next((_ENTRIES[key] for key in map(key_of, reversed(stack)) if key in _ENTRIES), None)


def of_vllm(stack: Stack) -> bool:
    return any(frame.file.startswith(VLLM) for frame in stack)


def key_of(frame: Frame) -> tuple[str, str]:
    """File and function; functions inside functions are the outer one's: `Queue.get.<locals>.x` is `Queue.get`."""
    return frame.file, frame.name.partition(".<locals>")[0]


@cache
def _calls(frame: Frame) -> str:
    line = linecache.getline(frame.path, frame.line)
    return next((state for words, state in CALLS.items() if words in line), WORKING)
