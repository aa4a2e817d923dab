"""A server started, checked and stopped again, and what came of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.text import Text

from probes.engineplatform import engine_platform
from probes.errors import EnginescopeError
from probes.machine import fingerprint
from probes.memory.account import Memory, engine_memory
from probes.privacy.commandline import command_line
from probes.processes.enginegroup import group_of
from probes.serve.checks.checks import Check, run_checks
from probes.serve.checks.expectations import CheckFailed, Served
from probes.serve.client import NoAnswer, healthy
from probes.serve.command import Command, ServeOptions, on_gpu, server_command
from probes.serve.faults.diagnosis import Diagnosis
from probes.serve.hung import why_not_ready
from probes.serve.ports import refuse_taken
from probes.serve.process import NotReady, ServerProcess, StartPhase, Startup
from probes.serve.reading import reading_notes
from probes.serve.report.verdict import load_lines, verdict
from probes.serve.shortload import ShortLoad, short_load


@dataclass
class Session:
    """What came of it: `diagnosis` where the server did not start or did not live through the checks."""

    command: Command
    startup: Startup
    log: Path
    checks: list[Check] = field(default_factory=list)
    memory: Memory | None = None
    load: ShortLoad | None = None
    verdict: list[str] = field(default_factory=list)
    diagnosis: Diagnosis | None = None
    kept_pid: int | None = None

    @property
    def passed(self) -> bool:
        """Whether there is a server and no check failed."""
        return self.diagnosis is None and bool(self.checks) and not any(each.failed for each in self.checks)


def as_dict(session: Session) -> dict[str, object]:
    """The session for JSON."""
    return {
        "passed": session.passed,
        "command": command_line(session.command.words),
        "notes": session.command.notes,
        "model": session.command.served_name,
        "ready_s": session.startup.ready_s,
        "startup": [{"phase": name, "took_s": took_s} for name, took_s in session.startup.split()],
        "checks": [asdict(each) for each in session.checks],
        "memory": session.memory and session.memory.as_dict(),
        "load": session.load and asdict(session.load),
        "verdict": session.verdict,
        "fault": session.diagnosis and asdict(session.diagnosis),
        "log": str(session.log) if session.log.exists() else None,
        "kept_pid": session.kept_pid,
    }


def run_session(
    options: ServeOptions, limit_s: float, keep: bool, tell: Callable[[Session], None] = lambda session: None
) -> Session:
    """Start, check, look at the memory, put a load on, stop. Only on `keep`, and where all checks passed, it stays.

    The log of one that passed is deleted at the end; `tell` hears of the session before that.
    """
    refuse_taken(options.host, options.port)
    machine = fingerprint(engine_platform())
    command = server_command(options, machine)
    log = Path(tempfile.mkdtemp(prefix="enginescope-serve-")) / "server.log"
    for line in (*command.notes, *reading_notes(options.model), f"$ {command_line(command.words)}", f"log: {log}"):
        print_progress(line)
    with ServerProcess(command.words, log, keep) as server:
        session = Session(command, server.startup, log)
        try:
            wait(server, lambda: healthy(options.asked_at), limit_s)
            check(session, server, options)
        except NotReady as ended:
            server.stop()
            session.diagnosis = why_not_ready(ended, log, options.port, on_gpu(machine), limit_s)
        else:
            server.keep = keep and session.passed  # one that failed would be left to no one: exit code 1 ends scripts
            session.kept_pid = server.pid if server.keep else None
    tell(session)
    if session.passed and not keep:
        log.unlink()
        log.parent.rmdir()
    return session


def wait(
    server: ServerProcess, answers: Callable[[], bool], limit_s: float, names: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Wait until the server answers; on a terminal its phase and latest line are shown, else a line per phase.

    `names` are of phases that go by another name here.
    """
    out = Console(stderr=True, highlight=False)
    printed: list[StartPhase] = []

    with out.status("starting") as live:

        def show(phase: StartPhase, latest: str) -> None:
            if phase not in printed:
                printed.append(phase)
                print_progress(f"{phase.start_s:6.1f} s  {names.get(phase.name, phase.name)}")
            live.update(Text(f"{names.get(phase.name, phase.name)}: {latest}"[: out.width - 4]))

        server.wait_ready(answers, limit_s, show)
    print_progress(f"{server.startup.ready_s:6.1f} s  answers")


def check(session: Session, server: ServerProcess, options: ServeOptions) -> None:
    """Ask everything; raises `NotReady` where the server died of it."""
    served = Served(options.asked_at, session.command.served_name, options.max_len)
    for each in run_checks(served):
        session.checks.append(each)
        if each.failed and server.dies():
            raise NotReady(server.process.returncode, f"the check {each.name!r}")
    try:
        session.memory = engine_memory(group_of(server.pid), options.asked_at)
        session.verdict = [*verdict(session.memory, options)]
    except EnginescopeError as error:
        print_progress(f"memory is not known: {error}")
    if session.passed:
        load(session, server, served)


def load(session: Session, server: ServerProcess, served: Served) -> None:
    """Put a short load on it; raises `NotReady` where the server died of it."""
    devices = session.memory.devices.devices if session.memory else []
    try:
        session.load = short_load(served, bool(devices))
        session.verdict += load_lines(session.load, devices)
    except (NoAnswer, CheckFailed, KeyError, TypeError) as error:
        if server.dies():
            raise NotReady(server.process.returncode, "a short load") from None
        session.verdict.append(f"under load: not known: {error}")


def print_progress(line: str) -> None:
    """Progress is for people: not in what may be piped on."""
    print(line, file=sys.stderr, flush=True)
