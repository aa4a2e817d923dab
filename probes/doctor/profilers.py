"""The doctor's checks of the other watchers: what the kernel lets them see, py-spy, and Nsight Systems with nvtx.

enginescope's own recorder needs none of them, so what is missing here is a note and never blocks.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from probes.devices import nvtxlibrary
from probes.doctor.surroundings import Finding, Surroundings
from probes.privacy.home import tilde

ANSWER_TIMEOUT_S = 20
CAP_SYS_PTRACE = 19  # bit numbers of linux/capability.h
CAP_SYS_ADMIN = 21
PTRACE = "proc/sys/kernel/yama/ptrace_scope"
DEBIAN_SOURCES = "etc/apt/sources.list.d/debian.sources"
PERF = "proc/sys/kernel/perf_event_paranoid"
SILENT_NVTX = (0, 2, 12)  # from here on nsys of 2022 records domain events only
LAST_HEARD_NVTX = "0.2.11"
IMPORTER = "host-linux-*/QdstrmImporter"
IMPORTER_PLACES = ("usr/lib/nsight-systems", "opt/nvidia/nsight-systems/*", "usr/local/cuda*/nsight-systems*")


def _may(at: Surroundings, capability: int) -> bool:
    """Whether this process has a capability: root in a container often lacks them."""
    held = re.search(r"^CapEff:\s*([0-9a-f]+)", at.text("proc/self/status") or "", re.M)
    return bool(held and int(held[1], 16) >> capability & 1)


def ptrace(at: Surroundings) -> Finding:
    """Whether py-spy may look into another process."""
    scope, capable = at.text(PTRACE), _may(at, CAP_SYS_PTRACE)
    who = f"{'root' if at.user == 0 else 'not root'}, {'with' if capable else 'without'} CAP_SYS_PTRACE"
    detail = f"ptrace_scope {scope or 'n/a'}; {who}"
    if scope == "3":
        remedy = "sudo sysctl -w kernel.yama.ptrace_scope=1   # 3 is final: set it in /etc/sysctl.d and restart"
        return Finding("ptrace", "warn", f"{detail}: nobody may attach until a restart", remedy)
    if capable:
        return Finding("ptrace", "ok", detail)
    if at.user == 0 and scope not in (None, "0"):
        remedy = "docker run --cap-add SYS_PTRACE IMAGE   # the container has to be started with it"
        return Finding("ptrace", "warn", f"{detail}: py-spy will be refused", remedy)
    if scope == "1":
        remedy = "sudo sysctl -w kernel.yama.ptrace_scope=0"
        return Finding("ptrace", "note", f"{detail}: py-spy may start a program, and not attach to one", remedy)
    if scope == "2":
        return Finding("ptrace", "warn", f"{detail}: py-spy needs root", "sudo sysctl -w kernel.yama.ptrace_scope=0")
    # The kernel lets a user look at his own processes; a container's runtime may still refuse it (seccomp).
    return Finding("ptrace", "ok", f"{detail}: your own processes")


def perf_events(at: Surroundings) -> Finding:
    """Whether nsys and perf may sample the processor."""
    level = at.text(PERF)
    if level is None:
        return Finding("perf events", "note", "n/a here: no sampling by nsys or perf (`nsys profile -s none` works)")
    detail = f"perf_event_paranoid {level}"
    if int(level) <= 2 or _may(at, CAP_SYS_ADMIN):
        return Finding("perf events", "ok", detail)
    remedy = "sudo sysctl -w kernel.perf_event_paranoid=2"
    return Finding("perf events", "note", f"{detail}: nsys and perf cannot sample (-s none works)", remedy)


def py_spy(at: Surroundings) -> Finding:
    """py-spy, and whether it knows this Python."""
    path = at.program("py-spy")
    if path is None:
        return Finding("py-spy", "note", "not installed (only for sampling)", "pip install py-spy")
    release, detail = _version(at, path)
    if release is None:
        return Finding("py-spy", "warn", detail, "pip install --force-reinstall py-spy")
    if release < (0, 4, 0) and at.python >= (3, 12, 0):
        return Finding("py-spy", "warn", f"{detail} does not know Python {_dotted(at.python)}", "pip install -U py-spy")
    return Finding("py-spy", "ok", detail)


def nsys(at: Surroundings) -> Finding:
    """Nsight Systems, and the importer that turns a recording into a report."""
    path = at.program("nsys")
    if path is None:
        return Finding("nsys", "note", "not installed (only for NVTX and CUDA captures)", _nsys_package(at))
    release, detail = _version(at, path)
    if release is None:
        return Finding("nsys", "warn", detail, "nsys --version")
    if importer(at, path) is None:
        remedy = "find / -name QdstrmImporter 2>/dev/null   # then: …/QdstrmImporter -i X.qdstrm -o X.nsys-rep"
        return Finding("nsys", "warn", f"{detail}, and no QdstrmImporter: recordings stay unread", remedy)
    if release[0] <= 2022:
        detail += ": does not find its importer by itself; tracing.record --nsys runs it"
        return Finding("nsys", "note", detail)
    return Finding("nsys", "ok", f"{detail}, with its importer")


def _nsys_package(at: Surroundings) -> str:
    """The lines that install it. Debian has it in non-free, and what it depends on in contrib."""
    if "ID=debian" not in (at.text("etc/os-release") or ""):
        return "sudo apt-get install nsight-systems   # Ubuntu: in multiverse; elsewhere NVIDIA's own package"
    lines = ["sudo apt-get update && sudo apt-get install -y nsight-systems"]
    sources = at.text(DEBIAN_SOURCES)
    if sources and re.search("^Components: main$", sources, re.M):
        lines.insert(0, f"sudo sed -i 's/^Components: main$/& contrib non-free/' /{DEBIAN_SOURCES}")
    elif not sources:
        lines.insert(0, "sudo sed -i -E 's/^deb .* main$/& contrib non-free/' /etc/apt/sources.list")
    return "\n".join(lines)


def importer(at: Surroundings, nsys_path: Path) -> Path | None:
    """`QdstrmImporter`: beside the real program's folder, or where packages put it."""
    beside = sorted(nsys_path.resolve().parent.parent.glob(IMPORTER))
    packaged = [path for place in IMPORTER_PLACES for path in sorted(at.root.glob(f"{place}/{IMPORTER}"))]
    return next((path for path in [*beside, *packaged] if os.access(path, os.X_OK)), None)


def nvtx(at: Surroundings) -> Finding:
    """The Python nvtx of vLLM's scopes against the nsys that is to hear it, and the library of enginescope's ranges."""
    version = at.version("nvtx")
    if version is None:
        return Finding("nvtx", "warn", "not installed", f"pip install --no-deps nvtx=={LAST_HEARD_NVTX}")
    path = at.program("nsys")
    heard_by = _release(_answer(at, path)) if path else None
    if heard_by and heard_by[0] <= 2022 and (_release(version) or SILENT_NVTX) >= SILENT_NVTX:
        detail = f"{version}: nsys {_dotted(heard_by)} hears its domains only, and so nothing of vLLM's own scopes"
        return Finding("nvtx", "warn", detail, f"pip install --no-deps nvtx=={LAST_HEARD_NVTX}")
    library = next((f"{name} {at.version(name)}" for name in nvtxlibrary.DISTRIBUTIONS if _has_library(at, name)), None)
    if library is None:
        detail = f"{version}, but no NVIDIA library for enginescope's own ranges"
        return Finding("nvtx", "warn", detail, nvtxlibrary.REMEDY)
    return Finding("nvtx", "ok", f"{version}, {library}")


def _has_library(at: Surroundings, name: str) -> bool:
    return (_release(at.version(name) or "") or (0,)) >= nvtxlibrary.DISTRIBUTIONS[name]


def _version(at: Surroundings, program: Path) -> tuple[tuple[int, ...] | None, str]:
    """The release of a program, and how it is shown; None where it does not say, and what it says instead."""
    answer = _answer(at, program)
    release = _release(answer)
    if release is None:
        return None, f"{tilde(str(program), at.home)} does not say its version: {answer[:80]}"
    return release, _dotted(release)


def _answer(at: Surroundings, program: Path) -> str:
    """What `program --version` prints; a program that cannot be run says why in its place."""
    try:
        result = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return tilde(str(error), at.home)
    return tilde(f"{result.stdout}{result.stderr}".strip(), at.home)


def _release(text: str) -> tuple[int, ...] | None:
    """The first number with dots in `text`: (2022, 4, 2) of `NVIDIA Nsight Systems version 2022.4.2.1-df9881f`."""
    match = re.search(r"\d+\.\d+(?:\.\d+)?", text)
    return tuple(int(part) for part in match[0].split(".")) if match else None


def _dotted(release: tuple[int, ...]) -> str:
    return ".".join(map(str, release))
