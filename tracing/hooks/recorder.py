"""The recorder of one process: its event file, the thread that keeps it ahead, and what the process says of itself.

The hot path is in C (`_recorder.c`): spans go straight into a mapped file, which was measured against a list that a
thread empties (`tests/bench/recorder.py`) and costs a third of it. What was written is the kernel's, so it survives a
SIGKILL of the process whole.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..events import delays, standing
from ..events.layout import SCHEMA
from ..sites.engine import ALL_SITES, CODES, PROCESS_ROLES
from . import _recorder
from .complaint import complain
from .standing import Lease, program
from .startup import created_ns

MOST_RECORDS = 1 << 24  # 768 MiB of 48-byte records a process; what comes after is dropped and counted
KEEPER_PERIOD_S = 0.02
STANDBY_PERIOD_S = 0.2  # the same while nothing is recorded
SWITCH = standing.SWITCH  # where the folder has a file of this name, nothing is written while its first byte is not 0,
# and steps are not counted: what was scheduled meanwhile has no number
ANCHOR_TRIES = 20

_state: dict[str, Any] = {}  # what `process-<pid>.json` says; empty while nothing is recorded
_folder = Path()
_lock = threading.Lock()
_gc_start = 0
_periodic: list[Callable[[], None]] = []


def begin(folder: str, serves: list[str]) -> None:
    """Open this process's event file and begin to record; OSError where the folder cannot be written."""
    global _folder
    first = not _state
    _folder = Path(folder)
    _open(serves)
    if first:
        _recorder.report_to(fail)
        gc.callbacks.append(_on_gc)
        atexit.register(end)
        # A forked child (CUDA's default) has this process's hooks but neither its keeper thread nor a file of its own.
        os.register_at_fork(after_in_child=_in_forked_child)


def _open(serves: list[str]) -> None:
    pid = os.getpid()
    stands = standing.read(_folder)
    _recorder.start(str(_folder / f"events-{pid}.bin"), SCHEMA, MOST_RECORDS, stands.ring_bytes if stands else 0)
    if (_folder / SWITCH).exists():
        _recorder.pause_by(str(_folder / SWITCH))
    if (_folder / delays.FILE).exists():
        _recorder.delay_by(str(_folder / delays.FILE), CODES["delay"])
    _state.clear()
    _state.update(
        schema=SCHEMA,
        pid=pid,
        parent=os.getppid(),
        machine_id=identity("/etc/machine-id"),
        boot_id=identity("/proc/sys/kernel/random/boot_id"),  # CLOCK_MONOTONIC is that of a boot
        title=program(),
        serves=serves,
        sites=[
            {key: getattr(site, key) for key in ("name", "stage", "role", "share", "numbers")} for site in ALL_SITES
        ],
        hooked=[],
        missing=[],
        modes=[],
        threads={},
        anchor=anchor(),
        created_ns=created_ns(),
        started_ns=time.monotonic_ns(),
        stopped_ns=None,
        dropped=0,
        device=None,  # what it launches on: cuda, xpu or pretend
        error=None,
    )
    say()
    lease = Lease(_folder) if stands else None
    threading.Thread(target=_keep, args=(pid, lease), name="enginescope", daemon=True).start()


def say(**more: Any) -> None:
    """Write down what this process says of itself, with `more` of it."""
    with _lock:
        _state.update(more)
        _state["dropped"] = max(_state["dropped"], _recorder.counts()[1])
        path = _folder / f"process-{_state['pid']}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(_state))
        os.replace(draft, path)


def add(**lists: list[str]) -> None:
    """Lengthen lists of what this process says (`hooked`, `missing`); they are written at the next `say`."""
    for name, values in lists.items():
        _state[name] = [*_state[name], *(value for value in values if value not in _state[name])]


def note(missing: str) -> None:
    """Say once what is missing in this process's spans; the recording goes on."""
    if missing not in _state.get("missing", ()):
        add(missing=[missing])
        complain(f"missing in process {os.getpid()}: {missing}")


def recording() -> bool:
    return bool(_state)


def stands() -> bool:
    """Whether this process is watched without end."""
    return (_folder / standing.FILE).exists()


def folder() -> Path:
    """Where this process writes."""
    return _folder


def roles() -> list[str]:
    """What this process serves, as far as it knows."""
    return list(_state.get("serves", ()))


def end() -> None:
    """Close the event file; nothing is recorded after that."""
    if _state and _state["pid"] == os.getpid() and _state["stopped_ns"] is None:
        _note_roles()
        _note_threads()
        say(stopped_ns=time.monotonic_ns())
        _recorder.stop()


def fail(error: BaseException | str) -> None:
    """Stop for good and say so once: a watcher never breaks inference."""
    if _state and _state["error"] is None and _state["stopped_ns"] is None:
        words = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error
        _state["error"] = words
        try:
            end()
        except OSError:  # the disk is full, until the files are cut to what was written
            _recorder.stop()
            with contextlib.suppress(OSError):
                say(stopped_ns=time.monotonic_ns())
        complain(f"the recorder stopped: {words}")  # who reads it finds the error on disk


def identity(path: str) -> str:
    """What the system calls itself; '' where it does not say. The host's name is nobody's business."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def each_second(act: Callable[[], None]) -> None:
    """Let the thread that keeps the file ahead do something about once a second."""
    if act not in _periodic:
        _periodic.append(act)


def anchor() -> dict[str, int]:
    """The wall clock at a moment of CLOCK_MONOTONIC, and by how much that may be off: the tightest of some tries."""
    best = None
    for _ in range(ANCHOR_TRIES):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, wall)
    assert best is not None
    return {"monotonic_ns": best[1], "wall_ns": best[2], "uncertainty_ns": best[0] // 2 + 1}


def _keep(pid: int, lease: Lease | None) -> None:
    """Keep the file ahead of what is written, and thread names and hooks on disk, away from the engine's threads."""
    written, acted = 0, time.monotonic()
    while _state.get("pid") == pid and os.getpid() == pid and _state["stopped_ns"] is None:
        try:
            _recorder.extend()
            if lease:
                lease.check()
            if _note_roles() or _note_threads() or len(_state["hooked"]) + len(_state["missing"]) != written:
                written = len(_state["hooked"]) + len(_state["missing"])
                say()
            if time.monotonic() - acted > 1:
                acted = time.monotonic()
                for act in _periodic:
                    act()
        except OSError as error:  # the disk is full
            fail(error)
            return
        time.sleep(KEEPER_PERIOD_S if _recorder.writing() else STANDBY_PERIOD_S)


def _note_roles() -> bool:
    """Note the roles of what vLLM runs in this process, which a fork does not know yet; whether they are new."""
    module = getattr(getattr(multiprocessing.current_process(), "_target", None), "__module__", "")
    roles = PROCESS_ROLES.get(module, _state["serves"])
    new = roles != _state["serves"]
    _state["serves"] = roles
    return new


def _note_threads() -> bool:
    """Note the names of threads that are new; whether there were any."""
    names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    new = {number: name for number, name in names.items() if _state["threads"].get(number) != name}
    _state["threads"].update(new)
    return bool(new)


def _on_gc(phase: str, info: dict[str, int]) -> None:
    global _gc_start
    if phase == "start":
        _gc_start = _recorder.now()
    else:
        _recorder.span(CODES["gc"], _gc_start, None, info["generation"], info["collected"])


def _in_forked_child() -> None:
    global _lock
    _lock = threading.Lock()
    _recorder.forget()
    if _state and _state["stopped_ns"] is None:
        hooked, missing, modes = _state["hooked"], _state["missing"], _state["modes"]
        try:
            _open(_state["serves"])
            add(hooked=hooked, missing=missing, modes=modes)
        except OSError as error:
            complain(f"not recording in a forked child: {error}")
