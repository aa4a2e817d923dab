"""The workers of an engine: what each holds, which differences are named, and the threads that they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline.engine import threads
from offline.engine.threads import shared_threads, worker_count
from offline.records.lines import ProcessMemory
from offline.records.workers import WorkerMemory, unbalanced, worker_memory
from tracing.events.enginephase import EnginePhase

MIB = 1 << 20


def test_a_worker_is_a_process_that_loaded_weights() -> None:
    phases = [
        EnginePhase("engine", 1, 0, 9),
        EnginePhase("load_weights", 3, 1, 2, weights_bytes=80),
        EnginePhase("load_weights", 2, 1, 2, weights_bytes=100),
        EnginePhase("profile_kv", 2, 2, 3, kv_cache_bytes=40),
    ]
    memory = [ProcessMemory("VLLM::Worker_TP0", 2, 900), ProcessMemory("VLLM::EngineCore", 1, 500)]
    assert worker_memory(phases, memory) == [
        WorkerMemory("VLLM::Worker_TP0", 100, 40, 900),
        WorkerMemory("process 3", 80, None, None),
    ]


def test_workers_that_differ_by_more_than_a_tenth_are_named() -> None:
    workers = [WorkerMemory("TP0", 100 * MIB, 91, 1000), WorkerMemory("TP1", 80 * MIB, 100, None)]
    assert list(unbalanced(workers)) == ["TP1 has 20% less memory in weights than TP0"]
    assert list(unbalanced(workers[:1])) == []


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 1), ({"tensor_parallel_size": 2}, 2), ({"tensor_parallel_size": 2, "data_parallel_size": 3}, 6)],
)
def test_the_workers_of_an_engine(settings: dict[str, int], count: int) -> None:
    assert worker_count(settings) == count


@pytest.mark.parametrize(
    ("platform", "workers", "environ", "added"),
    [
        ("cpu", 2, {}, {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2"}),
        ("cpu", 2, {"OMP_NUM_THREADS": "1"}, {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}),
        ("cpu", 2, {"VLLM_CPU_OMP_THREADS_BIND": "0-1|2-3"}, {}),
        ("cpu", 1, {}, {}),
        ("cuda", 2, {}, {}),
    ],
)
def test_workers_share_the_cores_of_a_single_node(
    platform: str,
    workers: int,
    environ: dict[str, str],
    added: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "node0").mkdir()
    monkeypatch.setattr(threads, "NODES", tmp_path)
    monkeypatch.setattr(threads, "engine_platform", lambda: platform)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr("os.environ", environ)
    assert shared_threads({"tensor_parallel_size": workers}) == added


def test_workers_with_a_node_each_are_left_to_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("node0", "node1", "possible"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(threads, "NODES", tmp_path)
    monkeypatch.setattr(threads, "engine_platform", lambda: "cpu")
    monkeypatch.setattr("os.environ", {})
    assert shared_threads({"tensor_parallel_size": 2}) == {}


def test_two_engines_share_the_cores_whatever_nodes_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM would bind the first worker of each to the first node."""
    for name in ("node0", "node1"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(threads, "NODES", tmp_path)
    monkeypatch.setattr(threads, "engine_platform", lambda: "cpu")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr("os.environ", {})
    assert shared_threads({}, engines=2) == {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2"}
