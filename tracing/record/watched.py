"""Whether the watchers were where they belong: which processes of a command said that they were watched, and how."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from tracing.events.layout import RANGES

LINGER_S = 10.0  # how long engine processes may outlive the command before the folder is read
ROLES = ("front end", "core", "worker")  # without one of these nothing can be followed


def processes(folder: Path) -> list[dict[str, Any]]:
    """What each watched process said of itself; what cannot be read is left out."""
    found = []
    for path in sorted(folder.glob("process-*.json")):
        with contextlib.suppress(OSError, ValueError):
            found.append(json.loads(path.read_text()))
    return found


def alive(folder: Path) -> list[str]:
    """The watched processes that still run, as `core 30002`."""
    living = [process for process in processes(folder) if psutil.pid_exists(process["pid"])]
    return [f"{process['serves'][0]} {process['pid']}" for process in living]


def linger(folder: Path) -> list[str]:
    """Wait a while for the engine's processes, which may end later than the command; those that outlive the wait.

    SIGINT or SIGTERM cuts the wait short.
    """
    cut = threading.Event()
    handlers = {number: signal.signal(number, lambda *_: cut.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if left := alive(folder):
            print(f"waiting up to {LINGER_S:.0f} s for {', '.join(left)}; Ctrl-C goes on at once", file=sys.stderr)
        deadline = time.monotonic() + LINGER_S
        while left and time.monotonic() < deadline and not cut.wait(0.1):
            left = alive(folder)
        return left
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def missing(folder: Path, command: list[str]) -> list[str]:
    """What was not watched though it should have been, a line each."""
    from tracing import timeline
    from tracing.sites.engine import SITES

    said = processes(folder)
    if not said:
        return [f"no process of the command loaded enginescope: {why_none(command)}"]
    roles = {role for process in said for role in process["serves"]} | set(timeline.read(folder).spans["role"].unique())
    found = [f"no process in the role {role} ever reported" for role in ROLES if role not in roles]
    hooked = {name for process in said for name in process["hooked"]}
    gone = {text.partition(" ")[0]: text for process in said for text in process["missing"]}
    for site in SITES:
        if site.required and site.name in gone and site.name not in hooked:
            found.append(f"required site not hooked: {gone[site.name]}; see python -m tracing.sites")
    found += sorted({text for process in said for text in process["missing"] if text.startswith(RANGES)})
    found += [f"the recorder stopped in process {p['pid']}: {p['error']}" for p in said if p["error"]]
    return found


PROBE = """
import importlib.metadata as m, sys
sys.path.insert(0, sys.argv[1])
if not [e for e in m.entry_points(group="vllm.general_plugins") if e.name == "enginescope"]:
    print("enginescope is not installed for", sys.executable)
else:
    import tracing
    at = getattr(tracing, "__file__", None) or list(tracing.__path__)[0]
    print("" if hasattr(tracing, "ENGINESCOPE") else "its package tracing is shadowed by " + at)
"""


def why_none(command: list[str]) -> str:
    """The likely reason why a command's processes did not load the plugin."""
    script = next((word for word in command[1:] if word.endswith(".py")), None)
    first = str(Path(script).parent) if script else "."
    if Path(command[0]).name.startswith("python"):
        asked = [command[0], "-c", PROBE, first]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            reason = subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout.strip()
            if reason:
                return reason
    return "it made no vLLM engine, or runs in an environment without enginescope"
