"""The arms of an overhead measurement: one process group each, with its watcher, frozen except while it is measured."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from enginescope_plugin import LISTENER, NVTX, TRACE
from probes import nvtxlibrary
from probes.errors import EnginescopeError
from probes.processgroup import end_group, members
from probes.programs import program

CHILD = "from tracing.overhead.trialengine import main; main()"
GUARD = "from tracing.overhead.arms import guard; guard()"
START_LIMIT_S = 180.0
TRIAL_LIMIT_S = 120.0
STOP_LIMIT_S = 60.0
NEEDED_BYTES = 3 << 30  # free memory without which an arm is not started
SAMPLES_A_S = 100
SAMPLER_LIMIT_S = 30.0
SAMPLING = "Sampling process"  # what py-spy says when it begins
IN_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


@dataclass(frozen=True)
class Arm:
    """One way to run the engine: what is in its environment, its engine arguments and around its process."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    tool: str = ""  # a program that watches from outside

    @property
    def profiled(self) -> bool:
        return "profiler_config" in self.settings


def watched(scratch: Path) -> list[Arm]:
    """The plain engine twice, then one arm a watcher; each writes into its own folder below `scratch`."""
    library = str(nvtxlibrary.library())
    traced = {name: {TRACE: str(scratch / name)} for name in ("recorder", "recorder + NVTX", "nsys")}
    profiler: dict[str, Any] = {"profiler": "torch", "torch_profiler_dir": str(scratch / "torch profiler")}
    profiler["torch_profiler_with_stack"] = False  # operators alone: what torchtrace reads
    return [
        Arm("off"),
        Arm("off too"),
        Arm("recorder", traced["recorder"]),
        Arm("recorder + NVTX", traced["recorder + NVTX"] | {NVTX: library, LISTENER: os.devnull}),  # ranges for no tool
        Arm("vLLM's NVTX scopes", {"VLLM_NVTX_SCOPES_FOR_PROFILING": "1"}),
        Arm("py-spy", tool="py-spy"),
        Arm("torch profiler", settings={"profiler_config": profiler}),
        Arm("nsys", traced["nsys"] | {NVTX: library}, tool="nsys"),
    ]


def split() -> list[Arm]:
    """The engine without its core's process: alone, which also drops the worker's process and its OpenMP binding, and
    with them."""
    return [
        Arm("in process", IN_PROCESS),
        Arm("in process, worker apart", IN_PROCESS, {"distributed_executor_backend": "mp"}),
    ]


class ArmError(EnginescopeError):
    """Why an arm cannot be measured."""


class ArmProcess:
    """A running arm. `frozen` has the spans of CLOCK_MONOTONIC in which its clocks stood still."""

    def __init__(self, arm: Arm, settings: dict[str, Any], scratch: Path) -> None:
        self.arm, self.folder, self.log = arm, scratch / arm.name, scratch / f"{arm.name}.log"
        self.folder.mkdir()
        self.frozen: list[tuple[int, int]] = []
        self._frozen_at = self._since = 0
        self.watched_s = 0.0  # how long it ran after its start, once it is stopped
        self._unread = b""
        self.pid = 0  # the engine's front end
        self.wanted()
        commands_in, self._commands = os.pipe()
        self._replies, replies_out = os.pipe()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self._prefix(), sys.executable, "-c", CHILD, str(commands_in), str(replies_out)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(commands_in, replies_out),
                start_new_session=True,
                env=os.environ | {"VLLM_NO_USAGE_STATS": "1", "TQDM_DISABLE": "1"} | arm.environment,
            )
        self.groups = {self.process.pid}
        os.close(commands_in)
        os.close(replies_out)
        self._settings = settings | arm.settings

    def wanted(self) -> None:
        """Look for the arm's tool; raises `ArmError` where it is missing, or memory for one more engine."""
        self.tool = program(self.arm.tool) if self.arm.tool else None
        if self.arm.tool and self.tool is None:
            raise ArmError(f"{self.arm.tool} is neither on the PATH nor beside this Python")
        free = psutil.virtual_memory().available
        if free < NEEDED_BYTES:
            raise ArmError(f"{free / 2**30:.1f} GiB of memory are free, one more engine may want {NEEDED_BYTES >> 30}")

    def _prefix(self) -> list[str]:
        if self.arm.tool != "nsys":
            return []
        flags = ["-t", "nvtx,osrt", "-s", "none", "--cpuctxsw=none", "-o", str(self.folder / "report")]
        return [str(self.tool), "profile", *flags]

    def start(self) -> None:
        """Start the engine and its sampler, wait for both, and freeze them."""
        self.pid = self._ask(self._settings, START_LIMIT_S)["pid"]
        self.find_groups()
        self._since = time.monotonic_ns()
        self.freeze()

    def trial(self, **asked: Any) -> dict[str, Any]:
        """Thaw, run one batch, freeze; what the engine said of it."""
        self.thaw()
        try:
            with self._sampled():
                return self._ask(asked | {"profiled": self.arm.profiled}, TRIAL_LIMIT_S)
        finally:
            self.freeze()

    @contextlib.contextmanager
    def _sampled(self) -> Iterator[None]:
        """Where the arm is py-spy's, let it sample meanwhile; a new one each time, since one that was frozen would make
        up for the samples that it missed."""
        if self.arm.tool != "py-spy":
            yield
            return
        stamp = time.monotonic_ns()
        command = [str(self.tool), "record", "--pid", str(self.pid), "--subprocesses"]
        command += ["--rate", str(SAMPLES_A_S)]
        command += ["--format", "raw", "--output", str(self.folder / f"samples-{stamp}.txt")]
        log = self.folder / f"py-spy-{stamp}.log"
        with log.open("wb") as out:
            sampler = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + SAMPLER_LIMIT_S
            while SAMPLING not in log.read_text():
                if sampler.poll() is not None or time.monotonic() > deadline:
                    raise ArmError(f"py-spy did not begin: {_reason(log)}")
                time.sleep(0.05)
            yield
        finally:
            sampler.send_signal(signal.SIGINT)
            try:
                sampler.wait(SAMPLER_LIMIT_S)
            except subprocess.TimeoutExpired:
                sampler.kill()
                sampler.wait()

    def freeze(self) -> None:
        self._frozen_at = time.monotonic_ns()
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self.frozen.append((self._frozen_at, time.monotonic_ns()))

    def _signal(self, number: signal.Signals) -> None:
        for process in members(*self.groups):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def find_groups(self) -> None:
        """Look for the groups of all that came of the arm's process: nsys gives what it runs a session of its own."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(ProcessLookupError):
                    self.groups.add(os.getpgid(child.pid))

    def stop(self) -> None:
        """End the sampler, then the engine, and wait for what they write; nothing of them is left."""
        self.thaw()
        self.watched_s = (time.monotonic_ns() - self._since - sum(end - start for start, end in self.frozen)) / 1e9
        os.close(self._commands)
        self._commands = -1
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_LIMIT_S)
        self.kill()

    def kill(self) -> None:
        """End all of it at once."""
        self.find_groups()
        for group in self.groups:
            end_group(group)
        self.process.wait()
        for fd in (self._commands, self._replies):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._commands = self._replies = -1

    def _ask(self, asked: dict[str, Any], limit_s: float) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, (json.dumps(asked) + "\n").encode())
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            if not select.select([self._replies], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise ArmError(f"no answer within {limit_s:.0f} s")
            chunk = os.read(self._replies, 1 << 16)
            if not chunk:
                raise ArmError(f"its process died: {_reason(self.log)}")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ArmError(answer["error"])
        return answer


def _reason(log: Path) -> str:
    """The first line of a log that tells of an error, else its last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it said nothing")


class Guard:
    """Ends the groups it was told of when this process is gone, which a frozen engine would not see."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", GUARD], stdin=subprocess.PIPE, start_new_session=True)

    def watch(self, group: int) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{group}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def guard() -> None:
    """The guard's process: group numbers on stdin, a line each; at its end they are ended."""
    for group in [int(line) for line in sys.stdin]:
        end_group(group)
