"""Runs any command that uses vLLM with every vLLM process of it watched, and leaves a trace folder.

A trace folder holds per process `events-<pid>.bin` and `process-<pid>.json`, and `trace.json`: what was run, on what
machine, and whether the watchers were where they belong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from enginescope_plugin import LISTENER, NVTX, TRACE
from probes import nvtxlibrary
from probes.arguments import CommandParser
from probes.errors import FAILED, EnginescopeError, run_main, usage_error
from probes.secretvalues import secret_variables, secret_words
from tracing.pyspy.sampler import DEFAULT_RATE, check_rate, sampled
from tracing.record.folder import new_folder
from tracing.record.launch import hand_over
from tracing.record.watched import linger, missing

SCHEMA = 1
DEMONSTRATION = [sys.executable, "-m", "tracing.demo"]

EXAMPLES = """examples:
  python -m tracing.record                                 a short demonstration on the default model, reviewed
  python -m tracing.record -- python my_script.py
  python -m tracing.record --out traces/api -- python -m vllm.entrypoints.openai.api_server --model ORG/NAME
  python -m tracing.record -- python -m offline.sweep --batch-size 1,8
  python -m tracing.record --nsys -- python my_script.py     under Nsight Systems; then python -m tracing.nsys FILE
  python -m tracing.record --py-spy -- python my_script.py   sampled by py-spy too; then python -m tracing.pyspy DIR
then:
  python -m tracing.review traces/<folder>
"""


def parser() -> argparse.ArgumentParser:
    made = CommandParser(
        prog="python -m tracing.record",
        description="Run a command with every vLLM process of it watched; no change to vLLM or to the command's code.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--out", type=Path, help="the trace folder (default: traces/<time>-<id>)")
    made.add_argument(
        "--nvtx",
        action="store_true",
        help="the same spans as NVTX ranges too, in the domain enginescope, for the tool that this runs under",
    )
    made.add_argument(
        "--nsys", action="store_true", help="under Nsight Systems, NVTX ranges included: nsys.nsys-rep and nsys.sqlite"
    )
    made.add_argument(
        "--py-spy",
        type=int,
        nargs="?",
        const=DEFAULT_RATE,
        metavar="RATE",
        help=f"py-spy samples every process too, so often a second (default {DEFAULT_RATE})",
    )
    made.add_argument("--partial", action="store_true", help="accept that a role or a required site was not watched")
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD …", help="what to run")
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.command and not command:
        raise usage_error("no command after --; see python -m tracing.record --help")
    if args.py_spy is not None:
        check_rate(args.py_spy)
    folder = new_folder(args.out)
    if args.nvtx and not args.nsys and LISTENER not in os.environ:
        nobody = f"no tool listens here ({LISTENER} is not set)"
        print(f"--nvtx: {nobody}: no range is made unless CMD starts one", file=sys.stderr)
    watchers = Watchers(args.nvtx or args.nsys, args.nsys, args.py_spy or 0)
    code = recorded(command or DEMONSTRATION, folder, watchers, args.partial)
    if not command and code == 0:
        from tracing.review import review

        return review(folder)
    return code


@dataclass(frozen=True)
class Watchers:
    """What watches beside the recorder; `py_spy` is its samples a second, 0 for none."""

    nvtx: bool
    nsys: bool
    py_spy: int


def recorded(command: list[str], folder: Path, watchers: Watchers, partial: bool) -> int:
    """Run the command watched and say what was seen; its exit code, or 1 where a watcher was missing."""
    from probes.commandline import command_line
    from probes.machine import fingerprint
    from tracing.nsys import capture, redaction

    trace: dict[str, Any] = {
        "schema": SCHEMA,
        "command": command_line(command),
        **asdict(watchers),
        "started": time.time(),
        "machine": asdict(fingerprint()),
    }
    with sampled(folder, watchers.py_spy) if watchers.py_spy else contextlib.nullcontext():
        write(folder, trace | {"state": "running"})
        try:
            code = run_watched(command, folder, watchers)
        except EnginescopeError:  # it could not be started: nothing of it stays
            (folder / "trace.json").unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
    left = linger(folder)
    outlived = [f"still running: {', '.join(left)}: the recording did not end"] if left else []
    problems = outlived + missing(folder, command) + (capture.finish(folder) if watchers.nsys else [])
    if watchers.nsys:
        for line in redaction.redact(folder, secret_variables(os.environ), secret_words(command)):
            print(line, file=sys.stderr)
    write(folder, trace | {"state": "ended", "exit_code": code, "problems": problems, "ns_per_span": ns_per_span()})
    return summary(folder, code, problems, partial)


def write(folder: Path, trace: dict[str, Any]) -> None:
    draft = folder / "trace.json.draft"
    draft.write_text(json.dumps(trace, indent=1))
    draft.replace(folder / "trace.json")


def environment(folder: Path, nvtx: bool) -> dict[str, str]:
    """The command's environment: the plugin is told its folder, and a `VLLM_PLUGINS` that would leave it out is
    lengthened."""
    made = os.environ | {TRACE: str(folder)}
    if nvtx:
        made[NVTX] = nvtx_library()
    chosen = made.get("VLLM_PLUGINS")
    if chosen is not None and "enginescope" not in chosen.split(","):
        made["VLLM_PLUGINS"] = ",".join(filter(None, (chosen, "enginescope")))
    return made


def nvtx_library() -> str:
    """NVIDIA's library, by which the ranges are made; `EnginescopeError` where there is none."""
    try:
        return str(nvtxlibrary.library())
    except OSError as error:
        raise EnginescopeError(f"no NVTX ranges can be made: {error}") from None


def run_watched(command: list[str], folder: Path, watchers: Watchers) -> int:
    """Run the command, under nsys where that watches; its exit code.

    nsys stores the command line and the environment it is started with: secrets go past it.
    """
    from tracing.nsys import capture

    env = environment(folder, watchers.nvtx)
    if not watchers.nsys:
        return run(command, env)
    secrets = secret_variables(env)
    inherited: tuple[int, ...] = ()
    if secrets or secret_words(command):
        command, descriptor = hand_over(command, secrets)
        inherited = (descriptor,)
    # What the caller has in the environment goes before what nsys would like there.
    public = {name: value for name, value in (capture.ENVIRONMENT | env).items() if name not in secrets}
    return run(capture.under(command, folder), public, inherited)


def run(command: list[str], env: dict[str, str], inherited: tuple[int, ...] = ()) -> int:
    """Run the command in the foreground; signals go to it, and its exit code comes back as a shell's would."""
    try:
        child = subprocess.Popen(command, env=env, pass_fds=inherited)
    except OSError as error:
        raise usage_error(f"cannot run {command[0]!r}: {error.strerror}") from None
    with passed_on(child):
        code = child.wait()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def passed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGTERM goes on to the child, and SIGINT too where no terminal sends it to the whole group."""

    def forward(number: int, _: Any) -> None:
        if number == signal.SIGTERM or not os.isatty(0):
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ns_per_span() -> float:
    """What one span costs on this machine now: the median of some rounds of a hooked function that does nothing.

    It is a span without request or numbers, the cheapest kind.
    """
    import statistics
    import tempfile

    from tracing.hooks import _recorder

    def nothing(given: object) -> None:
        return None

    hooked, rounds, calls = _recorder.Hook(nothing, 0), [], 2000
    with tempfile.TemporaryDirectory() as scratch:
        _recorder.start(f"{scratch}/events.bin", SCHEMA, 0)
        for _ in range(10):
            times = []
            for function in (nothing, hooked):
                start = _recorder.now()
                for _ in range(calls):
                    function(None)
                times.append(_recorder.now() - start)
            rounds.append((times[1] - times[0]) / calls)
        _recorder.stop()
    return round(statistics.median(rounds), 1)


def summary(folder: Path, code: int, problems: list[str], partial: bool) -> int:
    """Print what was recorded, what is missing first."""
    from rich.console import Console
    from rich.table import Table

    from tracing import timeline

    out = Console(stderr=True, soft_wrap=True, highlight=False)
    for problem in problems:
        out.print(f"{'accepted' if partial else 'INCOMPLETE'}: {problem}", style="bold red", markup=False)
    seen = timeline.read(folder) if any(folder.glob("events-*.bin")) else None
    if seen is not None:
        table = Table("role", "pid", "spans", "sites hooked", "dropped", box=None, pad_edge=False)
        counts = seen.spans["pid"].value_counts()
        for p in seen.processes:
            numbers = (p["pid"], counts.get(p["pid"], 0), len(p.get("hooked", [])), p.get("dropped", 0))
            table.add_row(", ".join(p.get("serves", ["?"])), *map(str, numbers))
        out.print(table)
        if seen.dropped or seen.torn:
            out.print(f"{seen.dropped} spans dropped, {seen.torn} torn", style="yellow")
    if code:
        out.print(f"the command ended with exit code {code}", style="yellow")
    out.print(f"Wrote {folder}", markup=False)
    return code or (FAILED if problems and not partial else 0)


if __name__ == "__main__":
    run_main(main)
