"""A real server that is made to hang, one way after another, and the table of what each way should be called.

Its engine runs under the recorder and loads the plugin of `hanging/`. It has two ranks and a KV connector, or else the
processes of one GPU and a pretend device.
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
from tracing.shapes import start
from tracing.shapes.shape import shape_named

START_S, REACHED_S, SETTLE_S, LOOK_S = 240.0, 30.0, 0.3, 1.0
RANKS = 2
LONG_PROMPT, LONG_PROMPTS, PREFILL_S = 7900, 6, 10.0  # after which the clients give up
UNREAD_TOKENS = 200  # about 50 KB of events: the client takes less than 10
REMOTE_PROMPT = 300  # tokens: more than a block
CONNECTOR = {"kv_connector": "RemoteStore", "kv_connector_module_path": "remotestore", "kv_role": "kv_both"}
DEVICE_SHAPE = "one-gpu-device"
PLUGIN = str(ROOT / "tests" / "engine" / "hanging")


@dataclass(frozen=True)
class Kind:
    """One way to hang, or not to: its cause, the role at the end of its chain, and words of its first answer."""

    name: str
    cause: HangCause
    role: str = ""
    words: str = ""
    on_device: bool = False  # of the server that has a pretend one


REMOTE = (hanging.KV_LOAD, hanging.KV_ARRIVAL)  # the fault meets a request as it comes
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
    Kind(hanging.KV_LOAD, HangCause.REMOTE_KV, "worker"),
    Kind(hanging.KV_ARRIVAL, HangCause.REMOTE_KV, "core"),
    Kind(hanging.DEVICE, HangCause.DEVICE, "core", on_device=True),  # the worker is inside the core there
    Kind(hanging.SLOW, HangCause.SLOW),
    Kind(PREFILL, HangCause.SLOW),
    Kind(CLIENT, HangCause.CLIENT),
    Kind(hanging.DEAD_OUTPUT_THREAD, HangCause.ENDED, "core", "no output thread"),
)


class HungServer:
    """The server, from `__enter__` to `__exit__`."""

    def __init__(self, folder: Path, on_device: bool = False) -> None:
        self.folder, self.port, self.on_device = folder, free_port(), on_device
        self.fault_file = folder / "fault"
        self.reached = self.fault_file.with_suffix(".reached")
        self.fault_file.write_text("")

    def __enter__(self) -> HungServer:
        server = [sys.executable, "-m", PROGRAM, "--model", str(two_layer_model()), "--served-model-name", "m"]
        server += ["--load-format", "dummy", "--dtype", "float32", "--enforce-eager", "--no-enable-prefix-caching"]
        server += ["--max-num-batched-tokens", "64", "--max-num-seqs", "16", "--host", HOST, "--port", str(self.port)]
        recorder = [sys.executable, "-m", "tracing.record", "--out", str(self.folder / "trace"), "--"]
        arguments, environment = self._of_device() if self.on_device else self._of_ranks()
        environment |= {"HANGING": str(self.fault_file), "VLLM_CPU_KVCACHE_SPACE": "1"}
        command = [*recorder, *server, *arguments]
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log)
        try:
            self._await_start()
        except BaseException:
            self._kill()
            raise
        return self

    def _of_ranks(self) -> tuple[list[str], dict[str, str]]:
        path = os.pathsep.join([FORKED["PYTHONPATH"], PLUGIN])
        arguments = ["--tensor-parallel-size", str(RANKS), "--kv-transfer-config", json.dumps(CONNECTOR)]
        return arguments, FORKED | {"PYTHONPATH": path, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}

    def _of_device(self) -> tuple[list[str], dict[str, str]]:
        return ["--async-scheduling"], start.environment(shape_named(DEVICE_SHAPE)) | {"PYTHONPATH": PLUGIN}

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
        """End the server and all that it started: it may be in no state to end by itself.

        Python's resource trackers then end by themselves, when they have unlinked its shared memory.
        """
        family = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for each in family:
            with contextlib.suppress(psutil.Error):
                if "resource_tracker" not in " ".join(each.cmdline()):
                    each.kill()
        self.process.wait()

    # --- requests ---

    def complete(self, tokens: int, prompt: object = "hello", timeout_s: float = 60.0) -> None:
        body = {"model": "m", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
        with contextlib.suppress(NoAnswer):
            ask(self.port, "/v1/completions", body, timeout_s)

    def stream_until(self, done: threading.Event, prompt: object) -> None:
        """A stream that hangs up once `done` is set."""
        body = {"model": "m", "prompt": prompt, "max_tokens": 8000, "ignore_eos": True, "stream": True}
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
        done, prompt = threading.Event(), [1] * REMOTE_PROMPT if kind in REMOTE else "hello"
        clients = [threading.Thread(target=self.stream_until, args=(done, prompt)) for _ in range(draw.randint(1, 3))]
        if kind == PREFILL:
            prompts = [[draw.randrange(1000) for _ in range(LONG_PROMPT)] for _ in range(LONG_PROMPTS)]
            clients = [threading.Thread(target=self.complete, args=(1, prompt, PREFILL_S)) for prompt in prompts]
        before_requests = kind in (hanging.EVENT_LOOP, *REMOTE) or draw.random() < 0.3
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
            self.reached.unlink(missing_ok=True)  # a slower rank may have told of the last fault after it was noticed
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
