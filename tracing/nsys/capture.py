"""Runs a command under Nsight Systems, and turns what it recorded into a report and a SQLite file in the trace folder.

`nsys` of 2022 as Debian packages it does not find its own importer and leaves a `.qdstrm`: that is imported here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

from probes.doctor.profilers import importer
from probes.doctor.surroundings import Surroundings, here
from probes.errors import EnginescopeError, usage_error
from tracing.events.tracefile import TraceRecord

STEM = "nsys"  # nsys.nsys-rep and nsys.sqlite in the trace folder
IMPORT_TIMEOUT_S = 1800
KFD = "dev/kfd"  # there where the driver of AMD GPUs is
NO_ROCM = (
    "nsys records nothing of AMD GPUs, only ranges and the OS runtime: vLLM's torch profiler has their kernels "
    "(python -m tracing.torchsums), or rocprofv3"
)
# Beside enginescope's own ranges, vLLM's scopes; and no fork, after which CUDA cannot be used nor traced.
ENVIRONMENT = {"VLLM_NVTX_SCOPES_FOR_PROFILING": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}


def program(at: Surroundings) -> Path:
    """The `nsys` on the path; `EnginescopeError` where there is none."""
    path = at.program("nsys")
    if path is None:
        raise usage_error("--nsys needs Nsight Systems, and nsys is not on the PATH; see python -m probes.doctor")
    return path


def under(command: list[str], folder: Path) -> list[str]:
    """The command line that runs `command` under nsys, recording into the folder."""
    at = here()
    # What hardware is there, not what vLLM runs on (`probes.engineplatform`): the command may have a Python of its own.
    vendors = {gpu.vendor for gpu in at.gpus}
    if "nvidia" not in vendors and ("amd" in vendors or (at.root / KFD).exists()):
        print(f"note: {NO_ROCM}", file=sys.stderr)
    return [str(program(at)), "profile", *flags("nvidia" in vendors), f"--output={folder / STEM}", *command]


def flags(cuda: bool) -> list[str]:
    """What a vLLM of several processes needs: ranges, the OS runtime, and on a GPU CUDA, graphs by their nodes.

    No sampling: it needs rights that a container lacks, and costs the engine time. All processes are waited for, since
    the engine's may end after the one that was started.
    """
    traced = ["--trace=cuda,nvtx,osrt", "--cuda-graph-trace=node"] if cuda else ["--trace=nvtx,osrt"]
    return [*traced, "--sample=none", "--cpuctxsw=none", "--trace-fork-before-exec=true", "--wait=all"]


def changes(trace: TraceRecord | None) -> list[str]:
    """What the flags and the environment that nsys ran with do to what is recorded, a line; none without nsys.

    Whether there were graphs, or processes besides the command's own, the trace's record does not say.
    """
    if trace is None or not trace.nsys:
        return []
    graphs = "CUDA graphs, if any, were traced node by node, so their replays took longer; "
    on_gpu = any(gpu.vendor == "nvidia" for gpu in trace.machine.gpus)
    spawned = (
        "processes that vLLM started, if any, were spawned unless the environment asked for fork, so their start took "
        "longer"
    )
    return [f"nsys's flags: {graphs * on_gpu}{spawned}"]


def finish(folder: Path) -> list[str]:
    """Import and export what nsys left in the folder; what went wrong, a line each."""
    raw, report = folder / f"{STEM}.qdstrm", folder / f"{STEM}.nsys-rep"
    try:
        if not report.exists():
            _import(raw, report)
        export(report, folder / f"{STEM}.sqlite")
    except EnginescopeError as error:
        return [str(error)]
    raw.unlink(missing_ok=True)
    has_ranges = "NVTX_EVENTS" in _tables(folder / f"{STEM}.sqlite")
    return [] if has_ranges else ["nsys recorded no NVTX range: see nvtx and nsys in python -m probes.doctor"]


def empty_files(folder: Path) -> tuple[str, ...]:
    """The names of nsys's files in the folder where there is no range and no work of a GPU in them; else none.

    What is left then, calls of the OS runtime, no command of ours reads.
    """
    sqlite = folder / f"{STEM}.sqlite"
    if not sqlite.exists() or any(name.startswith(("NVTX_EVENTS", "CUPTI_ACTIVITY")) for name in _tables(sqlite)):
        return ()
    return (f"{STEM}.nsys-rep", sqlite.name)


def _tables(sqlite: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(sqlite)) as file:
        return {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _import(raw: Path, report: Path) -> None:
    if not raw.exists():
        reason = "what it printed above says why (sem_open: another nsys beside it; try again)"
        raise EnginescopeError(f"nsys left no recording in {raw.parent}: {reason}")
    at = here()
    qdstrm_importer = importer(at, program(at))
    if qdstrm_importer is None:
        raise EnginescopeError(f"{raw} cannot be read: nsys has no QdstrmImporter; see python -m probes.doctor")
    _run([str(qdstrm_importer), "-i", str(raw), "-o", str(report)], report)


def export(report: Path, sqlite: Path) -> None:
    """Export a `.nsys-rep` to SQLite."""
    nsys = program(here())
    _run([str(nsys), "export", "--type=sqlite", f"--output={sqlite}", "--force-overwrite=true", str(report)], sqlite)


def _run(command: list[str], output: Path) -> None:
    """Run a step of nsys that writes `output`; what it prints, mostly a progress bar, is only for when it fails."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnginescopeError(f"cannot make {output}: {error}") from None
    if not output.exists():
        last = (process.stderr.strip() or process.stdout.strip() or f"exit code {process.returncode}").splitlines()[-1]
        raise EnginescopeError(f"{Path(command[0]).name} did not make {output}: {last}")
