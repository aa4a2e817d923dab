"""What the thread at the end of a chain does, by its frames, its line, its functions of C and its pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracing.hang.reports import FRONT, WAITING_CORE
from tests.tracing.hang.situations import first, situation, with_state, worker
from tracing.hang.chain import explain
from tracing.hang.doing import HangCause
from tracing.hang.situation import ProcessState


def test_what_was_not_left_between_two_looks_names_the_function() -> None:
    inner = worker(20, "Worker_TP0", "read_text (pathlib.py:1)", "search (mine.py:4)", "execute (mine.py:2)")
    outer = worker(20, "Worker_TP0", "search (mine.py:5)", "execute (mine.py:2)")
    engine = replace(situation(FRONT, WAITING_CORE, inner, outer), between_s=5.0)
    assert first(engine).text == "works in search, for 5 s or more"


def test_an_idle_thread_below_python_fits_two_causes() -> None:
    quiet = worker(20, "Worker_TP0", "update (mine.py:4)", state="idle")
    answers = explain(situation(FRONT, WAITING_CORE, quiet)).answers
    assert [answer.cause for answer in answers] == [HangCause.LOCK, HangCause.PYTHON]
    assert all("--native" in answer.apart for answer in answers)


def test_who_reads_from_the_network_is_named() -> None:
    reads = ("readinto (socket.py:718)", "begin (http/client.py:332)", "ask_store (mine.py:4)")
    answer = first(situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *reads, state="idle")))
    assert (answer.cause, answer.text) == (HangCause.IO, "waits for disk or network in ask_store")


@pytest.mark.parametrize(
    ("waits_in", "causes"),
    [
        ("anon_pipe_read", [HangCause.IO]),
        ("wait_woken", [HangCause.IO]),
        ("hrtimer_nanosleep", [HangCause.PYTHON]),
        ("futex_do_wait", [HangCause.LOCK, HangCause.PYTHON]),
        ("", [HangCause.LOCK, HangCause.PYTHON]),
    ],
)
def test_the_kernels_function_tells_more(waits_in: str, causes: list[HangCause]) -> None:
    quiet = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", "read_weights (mine.py:4)", state="idle"))
    answers = explain(with_state(quiet, 20, ProcessState("S", waits_in))).answers
    assert [answer.cause for answer in answers] == causes


@pytest.mark.parametrize(
    ("native", "cause"),
    [
        ("gc_collect_main (libpython3.11.so)", HangCause.COLLECTION),
        ("cuStreamSynchronize (libcuda.so)", HangCause.DEVICE),
        ("gloo::transport::tcp::UnboundBuffer::waitRecv (libtorch_cpu.so)", HangCause.COLLECTIVE),
        ("PyThread_acquire_lock_timed (libpython3.11.so)", HangCause.LOCK),
    ],
)
def test_functions_of_c_tell_more(native: str, cause: HangCause) -> None:
    assert first(situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", native, "update (mine.py:4)"))).cause == cause


@pytest.mark.parametrize(("busy", "words"), [(96.0, "a kernel does not end"), (0.0, "was not launched")])
def test_a_device_that_never_finishes(busy: float, words: str) -> None:
    engine = situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", "synchronize (torch/cuda/streams.py:93)"))
    answer = first(replace(engine, devices={0: busy}))
    assert answer.cause == HangCause.DEVICE and words in answer.text
    assert "utilization" in first(engine).apart


@pytest.mark.parametrize(
    ("inner", "cause"),
    [
        (["synchronize (torch_npu/npu/streams.py:90)"], HangCause.DEVICE),
        (["sleep_until (mine/device.py:4)", "Event.synchronize (mine/device.py:9)"], HangCause.DEVICE),
        (["parse_output (vllm/v1/sample/rejection_sampler.py:9)"], HangCause.PYTHON),
    ],
)
def test_an_event_of_another_platform(inner: list[str], cause: HangCause) -> None:
    output = "AsyncGPUModelRunnerOutput.get_output (vllm/v1/worker/gpu_model_runner.py:320)"
    assert first(situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *inner, output))).cause == cause


def test_an_event_that_guards_the_inputs_is_the_devices_too() -> None:
    stack = ("wait (mine/device.py:4)", "Event.synchronize (mine/device.py:9)")
    caller = "GPUModelRunner.synchronize_input_prep (vllm/v1/worker/gpu_model_runner.py:3500)"
    assert first(situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *stack, caller))).cause == HangCause.DEVICE


def test_a_connector_from_elsewhere_is_known_by_its_caller() -> None:
    mixin = (
        "KVConnectorModelRunnerMixin._get_kv_connector_output (vllm/v1/worker/kv_connector_model_runner_mixin.py:85)"
    )
    stack = ("poll (mine/store.py:4)", "Store.start_load_kv (mine/store.py:9)", mixin)
    answer = first(situation(FRONT, WAITING_CORE, worker(20, "Worker_TP0", *stack)))
    assert answer.cause == HangCause.REMOTE_KV
    assert answer.frame is not None and answer.frame.name == "Store.start_load_kv"


KEEPER = """import threading

tables = threading.Lock()


def keep():
    with tables:
        wait_for_ever()


def update():
    with tables:
        pass
"""


def test_the_holder_of_a_lock_is_found_in_the_source(tmp_path: Path) -> None:
    source = tmp_path / "tables.py"
    source.write_text(KEEPER)
    text = worker(20, "Worker_TP0", f"update ({source}:12)", state="idle")
    text += f'Thread 31 (idle): "keeper"\n    keep ({source}:8)\n    run (threading.py:982)\n'
    answer = first(situation(FRONT, WAITING_CORE, text))
    assert answer.cause == HangCause.LOCK
    assert f"held by thread keeper in keep ({source}:8)" in answer.text


def test_what_a_core_waits_for_is_computed_by_a_thread_of_its_pool() -> None:
    core = """Process 10: VLLM::EngineCore
Thread 10 (idle): "MainThread"
    wait (threading.py:320)
    result (concurrent/futures/_base.py:451)
    grammar_bitmask (vllm/v1/structured_output/__init__.py:240)
    run_engine_core (vllm/v1/engine/core.py:860)
Thread 11 (active): "ThreadPoolExecutor-0_0"
    search (mine.py:4)
    run (concurrent/futures/thread.py:58)
    _worker (concurrent/futures/thread.py:83)
"""
    answer = first(situation(FRONT, core))
    assert (answer.cause, answer.text) == (HangCause.PYTHON, "works in search")
