"""A server as a process of ours: started in its own group, watched through its log, stopped whole.

What it is doing is read from the lines that vLLM logs; times are when we saw a line, so that they are good to a tenth
of a second, no better.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from probes.processes.child import ChildProcess
from probes.processes.log import bare

POLL_S = 0.1
STOP_GRACE_S = 10.0
DEATH_S = 0.5
FIRST_PHASE = "imports vLLM"
# A line that vLLM 0.31 to 0.33 logs, and what the server does from then on.
PHASES = (
    (r"non-default args:", "reads the model's configuration"),
    (r"Using max model len", "starts the engine core"),
    (r"Initializing a V1 LLM engine", "starts the workers"),
    (r"Starting to load model", "loads the weights"),
    (r"Loading weights took|Model loading took", "measures the memory left"),
    (r"Dynamo bytecode transform|Compiling a graph|Warming up model for the compilation", "compiles"),
    (r"KV cache size:", "makes the KV cache, warms up"),
    (r"Capturing CUDA graphs", "captures CUDA graphs"),
    (r"init engine \(.*took", "starts the HTTP server"),
)


class NotReady(Exception):
    """The server ended, or its time was over, before it answered. `exit_code` is None for the latter."""

    def __init__(self, exit_code: int | None, doing: str) -> None:
        super().__init__(doing)
        self.exit_code = exit_code
        self.doing = doing


@dataclass(frozen=True)
class StartPhase:
    """What the server did from `start_s` on, in seconds since it was started."""

    name: str
    start_s: float


@dataclass
class Startup:
    """The phases of a start in order, and when the server answered."""

    phases: list[StartPhase] = field(default_factory=list)
    ready_s: float | None = None

    def split(self) -> Iterator[tuple[str, float]]:
        """Each phase with its length in seconds."""
        ends = [*(phase.start_s for phase in self.phases[1:]), self.ready_s]
        for phase, end_s in zip(self.phases, ends, strict=True):
            if end_s is not None:
                yield phase.name, end_s - phase.start_s


class ServerProcess:
    """A server's process group; use it as a context manager, so that nothing outlives the block but on `keep`."""

    def __init__(self, words: list[str], log: Path, keep: bool = False) -> None:
        self.log, self.keep = log, keep
        self._read, self._rest = 0, ""
        self.startup = Startup()
        self.began_s = time.monotonic()
        self.child = ChildProcess(words, log, environment(os.environ), outlives=keep)
        self.process = self.child.process

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None or not self.keep:
            self.stop()

    @property
    def pid(self) -> int:
        """The front end's process, and the group's number."""
        return self.child.pid

    @property
    def running(self) -> bool:
        """Whether the front end is there."""
        return self.child.running

    def dies(self) -> bool:
        """Whether the front end is gone, now or in a moment: a connection breaks before its process has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(DEATH_S)
        return not self.running

    def wait_ready(self, answers: Callable[[], bool], limit_s: float, tell: Callable[[StartPhase, str], None]) -> None:
        """Wait until it `answers`; `tell` hears the phase and the latest line of the log.

        Raises `NotReady` where it ends, or where its log has no new line for `limit_s`. A line that was there before
        is not new: a server that waits says so again and again.
        """
        phase = StartPhase(FIRST_PHASE, 0.0)
        self.startup.phases.append(phase)
        latest, earlier, heard_s = "", set[str](), self.began_s
        tell(phase, latest)
        while True:
            running = self.running  # before the log is read: what has ended has written all that it will
            for line in self.new_lines():
                latest = bare(line).strip() or latest
                if latest not in earlier:
                    earlier.add(latest)
                    heard_s = time.monotonic()
                name = phase_of(line)
                if name and name != phase.name:
                    phase = StartPhase(name, time.monotonic() - self.began_s)
                    self.startup.phases.append(phase)
                tell(phase, latest)
            if not running:
                raise NotReady(self.process.returncode, phase.name)
            if answers():
                self.startup.ready_s = time.monotonic() - self.began_s
                return
            if time.monotonic() - heard_s > limit_s:
                raise NotReady(None, phase.name)
            time.sleep(POLL_S)

    def new_lines(self) -> Iterator[str]:
        """The whole lines that the log has got since the last call; progress bars end theirs with a return."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        *lines, self._rest = re.split(r"[\r\n]", self._rest + new.decode(errors="replace"))
        return iter(lines)

    def stop(self) -> None:
        """Ask the front end to end, as `kill` does, so that it unlinks its shared memory; then kill what is left."""
        try:
            if self.running:
                with suppress(subprocess.TimeoutExpired, ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)
                    self.process.wait(STOP_GRACE_S)
        finally:
            self.child.end()


def phase_of(line: str) -> str | None:
    """The phase that a line of the log begins, if it does."""
    return next((name for pattern, name in PHASES if re.search(pattern, line)), None)


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: a log that can be read, and no key that the checks would need."""
    variables = {name: value for name, value in ours.items() if name != "VLLM_API_KEY"}
    variables |= {"VLLM_LOGGING_COLOR": "0", "VLLM_LOGGING_LEVEL": "INFO", "PYTHONUNBUFFERED": "1"}
    return variables | {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
