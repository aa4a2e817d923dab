"""Which stacks work and which wait, by a table of frames that are all in the installed sources."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tracing.pyspy.stackframes import GET, MAIN, SITE, SPIN, WAIT, WAITING, WORKING, is_there
from tracing.pyspy import sampler, waitingframes
from tracing.pyspy.events import Frame

READ = (SPIN, ("SpinCondition.wait", SPIN[1], 198))
RESULT = ("Future.result", "/usr/lib/python3.11/concurrent/futures/_base.py", 451)
BEFORE_3_13 = {("threading.py", "Thread._wait_for_tstate_lock")}  # then `Thread.join` is the innermost frame


@pytest.mark.parametrize(
    ("stack", "state"),
    [
        ((MAIN, GET, WAIT), "event or queue"),
        (WAITING, "spin on shared memory"),
        (WORKING, "working"),
        ((("Poller.poll", f"{SITE}zmq/sugar/poll.py", 106),), "poll"),
        (((*READ, ("Poller.poll", f"{SITE}zmq/sugar/poll.py", 106))), "poll"),
        ((*READ, ("sched_yield", f"{SITE}vllm/distributed/utils.py", 50)), "spin on shared memory"),
        ((RESULT, WAIT), "future"),
        ((("EpollSelector.select", "/usr/lib/python3.11/selectors.py", 468),), "poll"),
        ((("Condition.wait", "/home/me/threading.py.d/mine.py", 1),), "working"),
        ((("nap", __file__, 1), ("sampler._nap", sampler.__file__, 0)), "working"),
    ],
)
def test_state(stack: tuple[tuple[str, str, int], ...], state: str) -> None:
    assert waitingframes.state(tuple(Frame(*call) for call in stack)) == state


@pytest.mark.parametrize(
    ("name", "file", "state"),
    [
        ("Event.synchronize", "torch/cuda/streams.py", "GPU"),
        ("Stream.synchronize", "torch/cuda/streams.py", "GPU"),
        ("synchronize", "torch/cuda/__init__.py", "GPU"),
        ("synchronize", "torch/accelerator/__init__.py", "GPU"),
        ("Event.synchronize", "torch/xpu/streams.py", "GPU"),
        ("empty_cache", "torch/cuda/memory.py", "GPU"),
        ("CUDAGraph.replay", "torch/cuda/graphs.py", "GPU launch"),
        ("CudaLauncher.__call__", "triton/backends/nvidia/driver.py", "GPU launch"),
        ("JITFunction.run", "triton/runtime/jit.py", "GPU launch"),
        ("CompiledKernel.__getitem__.<locals>.runner", "triton/compiler/compiler.py", "GPU launch"),
        (
            "StaticallyLaunchedTritonKernel.run",
            "torch/_inductor/runtime/static_triton_launcher.py",
            "GPU launch",
        ),
        ("JITFunction._do_compile", "triton/runtime/jit.py", "working"),
        ("NCCLLibrary.ncclAllReduce", "vllm/distributed/device_communicators/pynccl_wrapper.py", "NCCL"),
        ("barrier", "torch/distributed/distributed_c10d.py", "collective"),
        ("Event.record", "torch/cuda/streams.py", "working"),
    ],
)
def test_a_thread_that_waits_for_a_device_does_not_work(name: str, file: str, state: str) -> None:
    worker = ("WorkerProc.worker_main", f"{SITE}vllm/v1/executor/multiproc_executor.py", 879)
    assert waitingframes.state((Frame(*worker), Frame(name, f"{SITE}{file}", 227))) == state


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        (
            (("get", "/usr/lib/python3.11/queue.py", 171), ("wait", "/usr/lib/python3.11/threading.py", 327)),
            "event or queue",
        ),
        ((("join", "/usr/lib/python3.13/threading.py", 1092),), "event or queue"),
        ((("_shutdown", "/usr/lib/python3.13/threading.py", 1540),), "event or queue"),
        ((("acquire_read", READ[0][1], 1), ("poll", f"{SITE}zmq/sugar/poll.py", 106)), "poll"),
        ((("synchronize", f"{SITE}torch/cuda/streams.py", 227),), "GPU"),
        ((("wait", "/home/me/mine.py", 1),), "working"),
    ],
)
def test_functions_named_without_their_class(calls: tuple[tuple[str, str, int], ...], state: str) -> None:
    """As py-spy before 0.4.3 names them."""
    assert waitingframes.state(tuple(Frame(*call) for call in calls)) == state


def test_a_role_by_a_function_named_without_its_class() -> None:
    main = Frame("run_engine_core", f"{SITE}vllm/v1/engine/core.py", 10)
    assert waitingframes.entry((Frame("_bootstrap", "/usr/lib/python3.11/threading.py", 1), main)) == "core"


def test_a_forked_worker_has_the_stack_of_its_core_below_its_own() -> None:
    worker = Frame("WorkerProc.worker_main", f"{SITE}vllm/v1/executor/multiproc_executor.py", 879)
    started = Frame("Popen._launch", "/usr/lib/python3.11/multiprocessing/popen_fork.py", 71)
    assert waitingframes.entry((Frame(*MAIN), started, worker)) == "worker"


def test_a_line_that_sleeps_waits(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\nx = 1\ntime.sleep(5)\nself.copy_event.synchronize()\n")
    assert waitingframes.state((Frame("<module>", str(script), 3),)) == "sleep"
    assert waitingframes.state((Frame("<module>", str(script), 2),)) == "working"
    assert waitingframes.state((Frame("<module>", str(script), 4),)) == "GPU", "torch.Event is C: it has no frame"


@pytest.mark.parametrize(("file", "name"), [*waitingframes.INNERMOST, *waitingframes.ANYWHERE, *waitingframes.ENTRIES])
def test_every_frame_of_the_tables_is_there(file: str, name: str | None) -> None:
    if (file, name) in BEFORE_3_13 and sys.version_info >= (3, 13):
        pytest.skip("only up to Python 3.12")
    assert is_there(file, name)
