"""Every name of vLLM and torch in the tables is in the installed source, and a line of its log too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.needs import installed_vllm, needs_torch
from tests.tracing.pyspy.stackframes import is_there
from tracing.hang import frames
from tracing.hang.live.counting import BY_REASON
from tracing.hang.texts import enginelog
from tracing.pyspy.events import Frame
from tracing.source.tree import Missing

THREADS = (frames.INPUT_THREAD, frames.OUTPUT_THREAD, frames.REPLY_THREAD)
OTHERS = ("triton/backends/nvidia/compiler.py", "xgrammar/compiler.py")  # not everywhere where torch is
KEYS = [
    *(key for keys in frames.WAITS.values() for key in keys),
    *(*THREADS, *frames.ROUNDS, *frames.COLLECTIVES, *frames.KV_CALLERS),
    *(key for key in frames.COMPILERS if key[0].startswith("torch/")),
]


@pytest.mark.parametrize(("file", "name"), KEYS)
@needs_torch
def test_every_frame_of_the_tables_is_there(file: str, name: str | None) -> None:
    assert is_there(file, name)


def test_the_device_waits_are_the_recorders() -> None:
    assert ("vllm/v1/worker/gpu_model_runner.py", "GPUModelRunner._to_list") in frames.DEVICE_WAITS
    assert ("torch/cuda/streams.py", "Event.synchronize") in frames.DEVICE_WAITS


@pytest.mark.parametrize("folder", [folder for folder in frames.KV_FOLDERS if folder.startswith("vllm/")])
def test_every_folder_of_vllm_is_there(folder: str) -> None:
    assert (installed_vllm().root.parent / folder).is_dir()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("distributed/device_communicators/shm_broadcast.py", "No available shared memory broadcast block found "),
        ("v1/executor/multiproc_executor.py", "RPC call to {method} timed out."),
        ("v1/executor/multiproc_executor.py", "Worker proc %s died unexpectedly (exit code: %s), "),
        ("v1/engine/utils.py", "Waiting for %d local, %d remote core engine proc(s) to start."),
        ("v1/engine/exceptions.py", "EngineCore encountered an issue"),
        ("v1/metrics/loggers.py", "Avg generation throughput: %.1f tokens/s"),
        ("v1/metrics/loggers.py", BY_REASON),
    ],
)
def test_vllm_says_what_is_looked_for(file: str, words: str) -> None:
    assert words in Path(installed_vllm().root, file).read_text()


def test_each_kind_of_line_is_known() -> None:
    lines = {
        enginelog.QUEUE: "No available shared memory broadcast block found in 60 seconds.",
        enginelog.RPC: "TimeoutError: RPC call to sample_tokens timed out.",
        enginelog.START: "Waiting for 1 local, 0 remote core engine proc(s) to start.",
        enginelog.COLLECTIVE: "[Rank 1] Watchdog caught collective operation timeout: W(SeqNum=2, OpType=GATHER, N",
        enginelog.REMOTE_KV: "pulling kv_caches for ['a'] failed: Timeout waiting for P side ready.",
        enginelog.DEAD_WORKER: "Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor.",
        enginelog.DEAD: "EngineDeadError: EngineCore encountered an issue. See",
    }
    for kind, line in lines.items():
        [notice] = enginelog.read([(1, "EngineCore", line)])[0]
        assert notice.kind == kind
    assert {kind for _, kind in enginelog.LINES} == set(lines)


def test_a_function_is_found_with_and_without_its_class() -> None:
    for name in ("MessageQueue.dequeue", "dequeue"):
        frame = Frame(
            name, "/env/lib/python3.12/site-packages/vllm/distributed/device_communicators/shm_broadcast.py", 1
        )
        known = frames.awaited_by((frame,), frames.CORE)
        assert known is not None and known[0].role == frames.WORKER
    assert not isinstance(installed_vllm().resolve("vllm.v1.engine.core:EngineCoreProc.run_busy_loop"), Missing)


def test_native_names_are_of_functions() -> None:
    assert all(re.fullmatch(r"[\w:]+", name) for name, _ in frames.NATIVE)
