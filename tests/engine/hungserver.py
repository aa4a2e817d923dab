"""A real server that is made to hang, one way after another, and the table of what each way should be called.

Its engine has two ranks, runs under the recorder, and loads the plugin of `hanging/`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from probes.checkpoint import two_layer_model
from probes.processes.enginegroup import Member
from probes.serve.client import NoAnswer, ask, free_port, stream
from probes.serve.command import HOST, PROGRAM
from tests.engine.hanging import hanging
from tests.engine.recording import FORKED, ROOT
from tracing.hang.doing import HangCause
from tracing.hang.explanation import Explanation
from tracing.hang.live import look
from tracing.hang.live.procfs import state_of

START_S, REACHED_S, SETTLE_S, LOOK_S = 240.0, 30.0, 0.3, 1.0
RANKS = 2
LONG_PROMPT, LONG_PROMPTS = 7900, 6
UNREAD_TOKENS = 200  # about 50 KB of events: the client takes less than 10


@dataclass(frozen=True)
class Kind:
    """One way to hang, or not to: its cause, the role at the end of its chain, and words of its first answer."""

    name: str
    cause: HangCause
    role: str = ""
    words: str = ""


STOPPED, IDLE, PREFILL, CLIENT = "worker stopped", "idle", "long prefill", "client that does not read"
KINDS = (
    Kind(IDLE, HangCause.IDLE),
    Kind(STOPPED, HangCause.STOPPED, "worker"),
    Kind(hanging.LOOP, HangCause.PYTHON, "worker", "count_for_ever"),
    Kind(hanging.LOCK, HangCause.LOCK, "worker", "held by thread keeper"),
    Kind(hanging.COLLECTION, HangCause.COLLECTION, "worker"),
    Kind(hanging.ASLEEP, HangCause.PYTHON, "worker Worker_TP1", "rest"),
    Kind(hanging.LOST_TO_WORKER, HangCause.LOST, "worker", "the call from core to worker is lost"),
    Kind(hanging.LOST_TO_CORE, HangCause.LOST, "worker", "the answer from worker to core is lost"),
    Kind(hanging.EVENT_LOOP, HangCause.EVENT_LOOP, "front end", "ask_another_server"),
    Kind(hanging.SLOW, HangCause.SLOW),
    Kind(PREFILL, HangCause.SLOW),
    Kind(CLIENT, HangCause.CLIENT),
    Kind(
        hanging.DEAD_OUTPUT_THREAD, HangCause.ENDED, "core", "no output thread"
    ),  # the engine does not recover from it
)


class HungServer:
    """The server, from `__enter__` to `__exit__`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.fault_file = folder / "fault"
        self.reached = self.fault_file.with_suffix(".reached")
        self.fault_file.write_text("")

    def __enter__(self) -> HungServer:
        server = [sys.executable, "-m", PROGRAM, "--model", str(two_layer_model()), "--served-model-name", "m"]
        server += ["--load-format", "dummy", "--dtype", "float32", "--enforce-eager", "--no-enable-prefix-caching"]
        server += ["--tensor-parallel-size", str(RANKS), "--max-num-batched-tokens", "64", "--max-num-seqs", "16"]
        server += ["--host", HOST, "--port", str(self.port)]
        recorder = [sys.executable, "-m", "tracing.record", "--out", str(self.folder / "trace"), "--"]
        path = os.pathsep.join([FORKED["PYTHONPATH"], str(ROOT / "tests" / "engine" / "hanging")])
        environment = os.environ | FORKED | {"PYTHONPATH": path, "HANGING": str(self.fault_file)}
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen([*recorder, *server], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            self._await_start()
        except BaseException:
            self._kill()
            raise
        return self

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            log = (self.folder / "log").read_text(errors="replace")
            assert self.process.poll() is None and time.monotonic() < deadline, log[-3000:]
            with contextlib.suppress(NoAnswer):
                if ask(self.port, "/health", timeout_s=5).status == 200:
                    break
            time.sleep(0.2)
        self.complete(4)
        self.group, self.endpoint = look.group_at(f"{HOST}:{self.port}")

    def __exit__(self, *_: object) -> None:
        self._kill()

    def _kill(self) -> None:
        """End the server and all that it started: it may be in no state to end by itself."""
        family = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for each in family:
            with contextlib.suppress(psutil.Error):
                each.kill()
        self.process.wait()

    # --- requests ---

    def complete(self, tokens: int, prompt: object = "hello", timeout_s: float = 60.0) -> None:
        body = {"model": "m", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
        with contextlib.suppress(NoAnswer):
            ask(self.port, "/v1/completions", body, timeout_s)

    def stream_until(self, done: threading.Event) -> None:
        """A stream that hangs up once `done` is set."""
        body = {"model": "m", "prompt": "hello", "max_tokens": 8000, "ignore_eos": True, "stream": True}
        with contextlib.suppress(NoAnswer):
            for _ in stream(self.port, "/v1/completions", body, timeout_s=60.0):
                if done.is_set():
                    return

    def worker(self, rank: int) -> Member:
        return next(member for member in self.group if member.name == f"Worker_TP{rank}")

    def stopped(self) -> list[int]:
        """The engine's processes that stand still."""
        return [member.pid for member in self.group if (state := state_of(member.pid)) and state.letter in "Tt"]

    # --- the kinds ---

    @contextlib.contextmanager
    def state(self, kind: str, draw: random.Random) -> Iterator[None]:
        """Bring the server into a state, with traffic and a moment that are drawn; out of it again at the end."""
        if kind == CLIENT:
            with self._unread():
                yield
            return
        done = threading.Event()
        clients = [threading.Thread(target=self.stream_until, args=(done,)) for _ in range(draw.randint(1, 3))]
        if kind == PREFILL:
            prompts = [[draw.randrange(1000) for _ in range(LONG_PROMPT)] for _ in range(LONG_PROMPTS)]
            clients = [threading.Thread(target=self.complete, args=(1, prompt)) for prompt in prompts]
        before_requests = kind == hanging.EVENT_LOOP or draw.random() < 0.3
        stopped = self.worker(draw.randrange(RANKS)).pid if kind == STOPPED else None
        if before_requests:
            self._begin(kind, stopped)
        for client in clients if kind != IDLE else ():
            client.start()
        if not before_requests:
            time.sleep(draw.uniform(0.2, 0.8))
            self._begin(kind, stopped)
        if kind not in (STOPPED, IDLE, PREFILL):
            self._await_fault()
        time.sleep(SETTLE_S)
        try:
            yield
        finally:
            done.set()
            self._end(stopped)
            if kind != hanging.DEAD_OUTPUT_THREAD:
                for client in clients if kind != IDLE else ():
                    client.join()
                self.complete(1)

    def _await_fault(self) -> None:
        deadline = time.monotonic() + REACHED_S
        while not self.reached.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.reached.exists(), "no process came to the fault"
        self.reached.unlink()

    def _begin(self, kind: str, stopped: int | None) -> None:
        if stopped:
            os.kill(stopped, signal.SIGSTOP)
        elif kind not in (IDLE, PREFILL):
            self.fault_file.write_text(kind)

    def _end(self, stopped: int | None) -> None:
        self.fault_file.write_text("")
        if stopped:
            os.kill(stopped, signal.SIGCONT)

    @contextlib.contextmanager
    def _unread(self) -> Iterator[None]:
        """A client that asks for a stream and reads nothing of it, after the engine has made it."""
        body = {"model": "m", "prompt": "hello", "max_tokens": UNREAD_TOKENS, "ignore_eos": True, "stream": True}
        data = json.dumps(body).encode()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((HOST, self.port))
            head = f"POST /v1/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            client.sendall(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
            self.complete(UNREAD_TOKENS)  # begins later and is as long: the other's answer is then made
            yield

    # --- the answer ---

    def explanation(self, seconds: float = LOOK_S) -> Explanation:
        """What the command finds, by the functions that it calls."""
        return look.explained(self.group, self.endpoint, seconds)[1]


def is_right(kind: Kind, explanation: Explanation) -> bool:
    """Whether the first answer is the kind's."""
    answer = explanation.answers[0]
    return answer.cause == kind.cause and answer.process.startswith(kind.role) and kind.words in answer.text
