"""An arm's process seen from the sweep: started in a group of its own, asked one thing at a time, killed whole."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from enginescope_plugin import STEP_LOG
from offline.engine.log import first_reason, refuses
from probes.processgroup import end_group, lives, members

STOP_GRACE_S = 30.0
WATCH_S = 1.0  # how often it is looked whether the engine still lives
LAST_WORDS_S = 15.0  # how long an arm may take to say that its engine died
ENGINE = "VLLM::"  # what vLLM's core and workers call themselves


class ArmFailed(Exception):
    """The arm cannot go on; `refused` when the engine itself declined the configuration, and its words."""

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class ArmProcess:
    """One arm's process group; use it as a context manager, so that nothing of it outlives the block."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.scratch = Path(
            tempfile.mkdtemp(prefix="enginescope-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        )
        commands_in, self._commands = os.pipe()
        self._replies, replies_out = os.pipe()
        self._unread = b""
        self.engine: list[psutil.Process] | None = None  # the core and its workers, from the first answer on
        self.killed = False
        with log.open("ab") as out:
            self.offset = out.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "offline.engine.arm", str(commands_in), str(replies_out)],
                stdin=subprocess.PIPE,  # never written: its end tells the keeper that the sweep is gone
                stdout=out,
                stderr=out,
                pass_fds=(commands_in, replies_out),
                start_new_session=True,
                env=_environment(self.scratch),
            )
        os.close(commands_in)
        os.close(replies_out)

    def __enter__(self) -> ArmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ask(self, command: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self.send(command)
        return self.receive(limit_s)

    def send(self, command: dict[str, Any]) -> None:
        """Send one command; that the arm is gone shows when its answer is read."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._commands, (json.dumps(command) + "\n").encode())

    def receive(self, limit_s: float) -> dict[str, Any]:
        """Wait for the answer; raises `ArmFailed` on an error, a death or the time limit."""
        line = self._read_line(time.monotonic() + limit_s)
        if line is None and self._lost():
            raise ArmFailed(f"a process of the engine died: {self._logged() or 'see its log'}")
        if line is None:
            raise ArmFailed(f"no answer within {limit_s:.0f} s; killed")
        if not line:
            raise self._death()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._failure(answer["error"])
        if self.engine is None:
            self.engine = [process for process in members(self.process.pid) if _of_engine(process)]
        return answer

    def stop(self) -> None:
        """Ask the arm to shut its engine down, wait a while, and make sure that nothing is left."""
        self.send({"do": "stop"})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_GRACE_S)
        self.kill()

    def freeze(self) -> None:
        """Stop the group's clocks: it takes no processor until `thaw`. The keeper goes on watching."""
        for process in members(self.process.pid):
            if process.pid != self.process.pid:
                process.suspend()

    def thaw(self) -> None:
        """Let a frozen group go on."""
        for process in members(self.process.pid):
            process.resume()

    def kill(self) -> None:
        """Kill the whole group and wait until it is gone."""
        if self.killed:
            return
        self.killed = True
        end_group(self.process.pid)
        self.process.wait()
        for fd in (self._commands, self._replies):
            with contextlib.suppress(OSError):
                os.close(fd)
        if self.process.stdin:
            self.process.stdin.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _read_line(self, deadline: float) -> bytes | None:
        """One line without its end; empty at the end of the file, None when the time is over.

        `generate` of vLLM 0.32 may wait for ever for a core that was killed: such an arm has some seconds to say so.
        """
        while b"\n" not in self._unread:
            wait = deadline - time.monotonic()
            if wait <= 0:
                return None
            if not select.select([self._replies], [], [], min(wait, WATCH_S))[0]:
                deadline = min(deadline, time.monotonic() + LAST_WORDS_S) if self._lost() else deadline
                continue
            chunk = os.read(self._replies, 1 << 20)
            if not chunk:
                return b""
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _lost(self) -> bool:
        """Whether a process of the engine is gone."""
        return any(not lives(process) for process in self.engine or ())

    def _death(self) -> ArmFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        code = self.process.returncode
        return ArmFailed(f"the arm's process died (exit code {code}): {self._logged() or 'see its log'}")

    def _failure(self, error: str) -> ArmFailed:
        """The engine's own reason: the first real exception of its children's log, else what the parent was told."""
        logged = self._logged()
        reason = logged or error
        return ArmFailed(reason, refused=refuses(reason))

    def _logged(self) -> str | None:
        with self.log.open("rb") as file:
            file.seek(self.offset)
            return first_reason(file.read().decode(errors="replace"))


def _of_engine(process: psutil.Process) -> bool:
    """Whether it is one of vLLM's processes."""
    try:
        return any(word.startswith(ENGINE) for word in process.cmdline()[:1])
    except psutil.Error:
        return False


def _environment(scratch: Path) -> dict[str, str]:
    environment = dict(os.environ) | {
        STEP_LOG: str(scratch),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_LOGGING_COLOR": "0",
        "TQDM_DISABLE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # A list of plugins that the user set is extended, not replaced: without ours there is no step log.
    if "VLLM_PLUGINS" in environment and "enginescope" not in environment["VLLM_PLUGINS"].split(","):
        environment["VLLM_PLUGINS"] = ",".join(filter(None, [environment["VLLM_PLUGINS"], "enginescope"]))
    return environment
