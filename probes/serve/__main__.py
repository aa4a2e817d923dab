"""`python -m probes.serve`: start vLLM's own server, see that it does all that a client needs, and stop it.

This module is the command. `probes.serve.command` chooses the arguments, `probes.serve.process` starts and stops,
`probes.serve.checks` asks, `probes.serve.faults` says why a server did not start.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import FAILED, EnginescopeError, run_main, terminable, usage_error

if TYPE_CHECKING:
    from probes.serve.command import Asked
    from probes.serve.process import Server
    from probes.serve.session import Session

EPILOG = """examples:
  python -m probes.serve                                     the default model on port 8000
  python -m probes.serve ORG/NAME --gpus 2 --max-len 8192 --timeout 900
  python -m probes.serve /models/M --port 8100 --engine max_num_seqs=8 --engine enable_prefix_caching=false
  python -m probes.serve --keep                              leave it running where all is well
  python -m probes.serve --json > checks.json                for CI; progress goes to stderr

exit codes: 0 all checks passed, 1 one failed or the server did not start, 2 bad usage, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m probes.serve",
        description="Start vLLM's OpenAI-compatible server, check it from outside, and stop it again.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("model", nargs="?", metavar="MODEL", help="a folder or a hub's name (default: the embedded one)")
    made.add_argument("--port", type=int, default=8000, help="on 127.0.0.1 (default 8000)")
    made.add_argument("--gpus", type=int, default=1, metavar="N", help="tensor parallel size (default 1)")
    made.add_argument("--max-len", type=int, default=1024, metavar="TOKENS", help="longest request (default 1024)")
    made.add_argument("--gpu-util", type=float, metavar="SHARE", help="of each GPU's memory; CUDA only (default 0.8)")
    made.add_argument("--timeout", type=float, default=180.0, metavar="S", help="for the start (default 180)")
    made.add_argument("--engine", action="append", default=[], metavar="KEY=VALUE", help="any argument of vLLM's")
    made.add_argument("--keep", action="store_true", help="leave the server running after the checks")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    asked = read(args)
    with terminable(), hang_up_ends():
        session = run(asked, args.timeout, args.keep, tell=print_progress)
    if args.json:
        print(json.dumps(as_dict(session), indent=2))
    else:
        from probes.serve.table import report

        print("\n".join(report(session)))
    return 0 if session.passed else FAILED


def read(args: argparse.Namespace) -> Asked:
    """What was asked for, with what cannot be refused."""
    from probes.serve.command import Asked, engine_arguments

    for name, value, least, most in (
        ("--port", args.port, 1, 65535),
        ("--gpus", args.gpus, 1, 4096),
        ("--max-len", args.max_len, 1, 2**31),
        ("--timeout", args.timeout, 1, 86400),
    ):
        if not least <= value <= most:
            raise usage_error(f"{name} must be from {least} to {most}, not {value:g}")
    if args.gpu_util is not None and not 0 < args.gpu_util <= 1:
        raise usage_error(f"--gpu-util is a share of a GPU's memory, above 0 and at most 1, not {args.gpu_util:g}")
    engine = engine_arguments(args.engine)
    if args.model and args.model[0] in "./~" and not Path(args.model).expanduser().is_dir():
        raise usage_error(f"{args.model} is no folder; name one, a hub's ORG/NAME, or none for the default model")
    return Asked(model_path(args.model), args.port, args.gpus, args.max_len, args.gpu_util, engine)


def model_path(name: str | None) -> str:
    """The model as the server is to be told it: the default one is unpacked on first use."""
    from probes.checkpoint import default_model

    return str(Path(name).expanduser()) if name and Path(name).expanduser().is_dir() else name or str(default_model())


@contextmanager
def hang_up_ends() -> Iterator[None]:
    """A terminal that is closed ends the command as Ctrl-C does: the server would outlive it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGHUP, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


# --- what happens ---


def run(asked: Asked, limit_s: float, keep: bool, tell: Any) -> Session:
    """Start, check, look at the memory, stop. Only on `keep`, and only where all checks passed, it stays."""
    from probes.commandline import command_line
    from probes.machine import fingerprint
    from probes.serve.command import command, on_cuda
    from probes.serve.faults import diagnose
    from probes.serve.process import NotReady, Server
    from probes.serve.session import Session

    refuse_taken(asked.port)
    machine = fingerprint()
    made = command(asked, machine)
    log = Path(tempfile.mkdtemp(prefix="enginescope-serve-")) / "server.log"
    for note in made.notes:
        tell(note)
    tell(f"$ {command_line(made.words)}")
    tell(f"log: {log}")
    with Server(made.words, log, keep) as server:
        session = Session(made, server.startup, log)
        try:
            wait(server, asked.port, limit_s)
            check(session, server, asked)
        except NotReady as ended:
            server.stop()
            session.fault = diagnose(log.read_text(errors="replace"), ended, asked.port, on_cuda(machine))
        else:
            server.keep = keep and session.passed  # one that failed would be left to no one: exit code 1 ends scripts
            session.kept_pid = server.pid if server.keep else None
    if session.passed and not keep:
        log.unlink()
        log.parent.rmdir()
    return session


def refuse_taken(port: int) -> None:
    """Refuse a port that another listens on: its answers would be taken for our server's, and vLLM shares ports."""
    from probes.serve.command import HOST
    from probes.serve.faults import holder

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EnginescopeError(
                f"port {port}: {error.strerror} {holder(port)}; end it, or take another: --port {port + 1}"
            ) from None


def wait(server: Server, port: int, limit_s: float) -> None:
    """Wait until the server answers; on a terminal its phase and latest line are shown, else a line per phase."""
    from rich.console import Console
    from rich.text import Text

    from probes.serve.client import NoAnswer, ask
    from probes.serve.process import Phase

    out = Console(stderr=True, highlight=False)
    told: list[Phase] = []

    def answers() -> bool:
        try:
            return ask(port, "/health", timeout_s=1).status == 200
        except NoAnswer:
            return False

    with out.status("starting") as live:

        def tell(phase: Phase, latest: str) -> None:
            if phase not in told:
                told.append(phase)
                print_progress(f"{phase.start_s:6.1f} s  {phase.name}")
            live.update(Text(f"{phase.name}: {latest}"[: out.width - 4]))

        server.wait_ready(answers, limit_s, tell)
    print_progress(f"{server.startup.ready_s:6.1f} s  answers")


def check(session: Session, server: Server, asked: Asked) -> None:
    """Ask everything; raises `NotReady` where the server died of it."""
    from probes.enginegroup import group_of
    from probes.memory.__main__ import memory
    from probes.metrics.endpoint import METRICS, Endpoint
    from probes.serve.checks import run_checks
    from probes.serve.command import HOST
    from probes.serve.process import NotReady
    from probes.serve.visit import Served

    for made in run_checks(Served(asked.port, session.command.served_name, asked.max_len)):
        session.checks.append(made)
        if made.failed and server.dies():
            raise NotReady(server.process.returncode, f"the check {made.name!r}")
    try:
        at = Endpoint("http", HOST, asked.port, METRICS)
        session.memory = memory(group_of(server.pid), at, None, url_given=False)
    except EnginescopeError as error:
        print_progress(f"memory is not known: {error}")


# --- showing it ---


def print_progress(line: str) -> None:
    """Progress is for people: not in what may be piped on."""
    print(line, file=sys.stderr, flush=True)


def as_dict(session: Session) -> dict[str, Any]:
    """For JSON."""
    from probes.commandline import command_line
    from probes.memory.__main__ import as_dict as memory_as_dict

    return {
        "passed": session.passed,
        "command": command_line(session.command.words),
        "notes": session.command.notes,
        "model": session.command.served_name,
        "ready_s": session.startup.ready_s,
        "startup": [{"phase": name, "took_s": took_s} for name, took_s in session.startup.split()],
        "checks": [asdict(each) for each in session.checks],
        "memory": session.memory and memory_as_dict(session.memory),
        "fault": session.fault and asdict(session.fault),
        "log": str(session.log) if session.log.exists() else None,
        "kept_pid": session.kept_pid,
    }


if __name__ == "__main__":
    run_main(main)
