"""Whether the watchers were where they belong: which processes of a command said that they were watched, and how."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from probes.processes.group import lives
from tracing import timeline
from tracing.events import processfile
from tracing.events.layout import RANGES
from tracing.events.processfile import ProcessRecord
from tracing.record.folder import taken_over
from tracing.sites.engine import SITES

RECORD = "python -m tracing.record"
LINGER_S = 10.0  # how long engine processes may outlive the command before the folder is read
BY_SIGNAL = 128  # above it are the exit codes of commands that a signal ended
ROLES = ("front end", "core", "worker")  # without one of these nothing can be followed


def processes(folder: Path) -> list[ProcessRecord]:
    """What each watched process said of itself; what cannot be read is left out."""
    reports = (processfile.read(path) for path in sorted(folder.glob("process-*.json")))
    return [report for report in reports if report is not None]


def alive(folder: Path) -> list[str]:
    """The watched processes that still run, as `core 30002`; one that only waits to be reaped does not."""
    living = [process for process in processes(folder) if not process.stopped_ns and runs(process.pid)]
    return [f"{process.serves[0]} {process.pid}" for process in living]


def runs(pid: int) -> bool:
    """Whether a process is there, and not one that only waits to be reaped."""
    try:
        return lives(psutil.Process(pid))
    except psutil.Error:
        return False


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


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """The first SIGINT or SIGTERM keeps no recording from being finished and told; the second does."""

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def note(*_: object) -> None:
        restore()
        print("finishing the recording; Ctrl-C again leaves it unfinished", file=sys.stderr)

    handlers = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()


def missing(folder: Path, command: list[str], code: int = 0) -> list[str]:
    """What was not watched though it should have been, a line each; `code` is the command's exit code."""
    reports = processes(folder)
    inner = [f"a recorder inside the command took over; what it recorded is in {path}" for path in taken_over(folder)]
    by_signal = BY_SIGNAL < code < BY_SIGNAL + signal.NSIG
    if by_signal and not (reports or inner or cleaned_by(command)):  # it may have been about to load it: no guess
        return ["no process of the command had loaded enginescope when a signal ended it"]
    if not reports:
        return [f"no process of the command loaded enginescope: {why}" for why in inner or [why_none(command)]]
    roles = {role for process in reports for role in process.serves}
    roles |= set(timeline.read(folder).spans["role"].unique())
    problems = inner + [f"no process in the role {role} ever reported" for role in ROLES if role not in roles]
    hooked = {name for process in reports for name in process.hooked}
    lines = [text for process in reports for text in process.missing]
    absent = {text.partition(" ")[0]: text for text in lines}
    for site in SITES:
        if site.required and site.name in absent and site.name not in hooked:
            problems.append(f"required site not hooked: {absent[site.name]}; see python -m tracing.sites")
    problems += sorted({text for text in lines if text.startswith(RANGES)})
    problems += [f"the recorder stopped in process {p.pid}: {p.error}" for p in reports if p.error]
    return problems


PROBE = """
import importlib.metadata as m, sys
if not [e for e in m.entry_points(group="vllm.general_plugins") if e.name == "enginescope"]:
    print("enginescope is not installed for", sys.executable)
"""
# Programs that start a command without this environment, and so without the variable by which the hooks are asked for.
ELSEWHERE = ("sudo", "su", "doas", "ssh", "docker", "podman", "nerdctl", "kubectl", "apptainer", "singularity")
CLEARING = {"-i", "-", "--ignore-environment"}


def why_none(command: list[str]) -> str:
    """The likely reason why a command's processes did not load the plugin."""
    if cleaner := cleaned_by(command):
        return f"{cleaner} starts it without this environment; put the recorder behind it: {cleaner} … {RECORD} -- …"
    if Path(command[0]).name.startswith("python"):
        probe = [command[0], "-c", PROBE]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            reason = subprocess.run(probe, capture_output=True, text=True, timeout=60).stdout.strip()
            if reason:
                return reason
    return "it made no vLLM engine, or runs in an environment without enginescope"


def cleaned_by(command: list[str]) -> str:
    """The word by which a command's environment gets lost, in a shell's script too; '' where there is none."""
    words = " ".join(command).split()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = Path(word).name
        if name in ELSEWHERE or (name == "env" and following in CLEARING):
            return f"{name} {following}" if name == "env" else name
    return ""
