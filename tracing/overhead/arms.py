"""The arms of an overhead measurement: one process group each, with its watcher, frozen except while it is measured."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from enginescope_plugin import LISTENER, NVTX, TRACE
from probes.devices import nvtxlibrary
from probes.errors import EnginescopeError
from probes.processes.engine import EngineFailed, EngineProcess
from probes.programs import program
from tracing.nsys import capture
from tracing.overhead.entry import WatchedTrial
from tracing.pyspy.process import PySpy

ENTRY = "from tracing.overhead.trialengine import main; main()"
START_LIMIT_S = 180.0
TRIAL_LIMIT_S = 120.0
STOP_LIMIT_S = 60.0
NEEDED_BYTES = 3 << 30  # free memory without which an arm is not started
SAMPLES_A_S = 100
SAMPLER_LIMIT_S = 30.0
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
        self._check()
        around = capture.under([], self.folder) if arm.tool == "nsys" else []
        self.engine = EngineProcess(ENTRY, scratch / f"{arm.name}.log", arm.environment, around)

    def _check(self) -> None:
        """Refuse where the arm's tool is missing, or memory for one more engine."""
        if self.arm.tool and program(self.arm.tool) is None:
            raise EngineFailed(f"{self.arm.tool} is neither on the PATH nor beside this Python")
        free = psutil.virtual_memory().available
        if free < NEEDED_BYTES:
            needed = NEEDED_BYTES >> 30
            raise EngineFailed(f"{free / 2**30:.1f} GiB of memory are free; one more engine may need {needed} GiB")

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
        options = ["--rate", str(SAMPLES_A_S), "--format", "raw"]
        options += ["--output", str(self.folder / f"samples-{stamp}.txt")]
        try:
            sampler = PySpy(self.pid, options, self.folder / f"py-spy-{stamp}.log")
        except EnginescopeError as error:
            raise EngineFailed(str(error)) from None
        try:
            yield
        finally:
            sampler.stop(SAMPLER_LIMIT_S)

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
