"""The arms of an overhead measurement: one process group each, with its watcher, frozen except while it is measured."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from enginescope_plugin import LISTENER, NVTX, TRACE
from probes import nvtxlibrary
from probes.processes.engine import EngineFailed, EngineProcess
from probes.programs import program
from tracing.nsys import capture
from tracing.overhead.entry import WatchedTrial

ENTRY = "from tracing.overhead.trialengine import main; main()"
START_LIMIT_S = 180.0
TRIAL_LIMIT_S = 120.0
STOP_LIMIT_S = 60.0
NEEDED_BYTES = 3 << 30  # free memory without which an arm is not started
SAMPLES_A_S = 100
SAMPLER_LIMIT_S = 30.0
SAMPLING = "Sampling process"  # what py-spy says when it begins
IN_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


@dataclass(frozen=True)
class OverheadArm:
    """One way to run the engine: what is in its environment, its engine arguments and around its process."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    tool: str = ""  # a program that watches from outside

    @property
    def profiled(self) -> bool:
        return "profiler_config" in self.settings


def watched(scratch: Path) -> list[OverheadArm]:
    """The plain engine twice, then one arm a watcher; each writes into its own folder below `scratch`."""
    traced = {name: {TRACE: str(scratch / name)} for name in ("recorder", "recorder + NVTX", "nsys")}
    profiler = {
        "profiler": "torch",
        "torch_profiler_dir": str(scratch / "torch profiler"),
        "torch_profiler_with_stack": False,  # operators alone: what torchtrace reads
    }
    library = str(nvtxlibrary.library())
    unheard = {NVTX: library, LISTENER: os.devnull}  # ranges for no tool
    return [
        OverheadArm("off"),
        OverheadArm("off too"),
        OverheadArm("recorder", traced["recorder"]),
        OverheadArm("recorder + NVTX", traced["recorder + NVTX"] | unheard),
        OverheadArm("vLLM's NVTX scopes", {"VLLM_NVTX_SCOPES_FOR_PROFILING": "1"}),
        OverheadArm("py-spy", tool="py-spy"),
        OverheadArm("torch profiler", settings={"profiler_config": profiler}),
        OverheadArm("nsys", traced["nsys"] | {NVTX: library} | capture.ENVIRONMENT, tool="nsys"),
    ]


def split() -> list[OverheadArm]:
    """The engine without its core's process: alone, which also drops the worker's process and its OpenMP binding, and
    with them."""
    return [
        OverheadArm("in process", IN_PROCESS),
        OverheadArm("in process, worker apart", IN_PROCESS, {"distributed_executor_backend": "mp"}),
    ]


class RunningArm:
    """A running arm. `frozen` has the spans of CLOCK_MONOTONIC in which its clocks stood still.

    Raises `EngineFailed` wherever it cannot be measured.
    """

    def __init__(self, arm: OverheadArm, settings: Mapping[str, object], scratch: Path) -> None:
        self.arm, self.folder, self._settings = arm, scratch / arm.name, {**settings, **arm.settings}
        self.folder.mkdir()
        self.frozen: list[tuple[int, int]] = []
        self._frozen_at = self._since = 0
        self.watched_s = 0.0  # how long it ran after its start, once it is stopped
        self.pid = 0  # the engine's front end
        self.tool = self._find_tool()
        around = capture.under([], self.folder) if arm.tool == "nsys" else []
        self.engine = EngineProcess(ENTRY, scratch / f"{arm.name}.log", arm.environment, around)

    def _find_tool(self) -> Path | None:
        """The arm's tool; refused where it is missing, or memory for one more engine."""
        tool = program(self.arm.tool) if self.arm.tool else None
        if self.arm.tool and tool is None:
            raise EngineFailed(f"{self.arm.tool} is neither on the PATH nor beside this Python")
        free = psutil.virtual_memory().available
        if free < NEEDED_BYTES:
            needed = NEEDED_BYTES >> 30
            raise EngineFailed(f"{free / 2**30:.1f} GiB of memory are free; one more engine may need {needed} GiB")
        return tool

    def start(self) -> None:
        """Start the engine, wait for it, and freeze it."""
        self.pid = self.engine.ask(self._settings, START_LIMIT_S)["pid"]
        self._since = time.monotonic_ns()
        self.freeze()

    def trial(self, **shape: int) -> WatchedTrial:
        """Thaw, run one batch, freeze; the engine's figures of it."""
        self.thaw()
        try:
            with self._sampled():
                return WatchedTrial(**self.engine.ask(shape | {"profiled": self.arm.profiled}, TRIAL_LIMIT_S))
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
                    raise EngineFailed(f"py-spy did not begin: {_reason(log)}")
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
        """Stop its clocks."""
        self._frozen_at = time.monotonic_ns()
        self.engine.freeze()

    def thaw(self) -> None:
        """Let them run on."""
        self.engine.thaw()
        self.frozen.append((self._frozen_at, time.monotonic_ns()))

    def stop(self) -> None:
        """End the engine and wait for what it and its tool write; nothing of them is left."""
        self.thaw()
        self.watched_s = (time.monotonic_ns() - self._since - sum(end - start for start, end in self.frozen)) / 1e9
        self.engine.stop(STOP_LIMIT_S)

    def kill(self) -> None:
        """End all of it at once."""
        self.engine.kill()


def _reason(log: Path) -> str:
    """The first line of a log that tells of an error, else its last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it said nothing")
