"""A real server that is made to hang, one way after another.

Its engine runs under the recorder and loads the plugin of `hanging/`. It has one of four settings: two ranks and a KV
connector; the processes of one GPU and a pretend device; two engines, data parallel; or one rank, and a recorder in
standby.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from probes.checkpoint import two_layer_model
from probes.serve.client import NoAnswer, ask, here, stream
from probes.serve.command import HOST, PROGRAM
from probes.serve.ports import free_port
from tests.engine.hanging import fault
from tests.engine.recording import FORKED, ROOT
from tests.engine.tracing.hang.hangkinds import (
    CLIENT,
    DEVICE,
    ENGINES,
    PREFILL,
    RANKS,
    SIGNALLED,
    SIGNALS,
    STANDBY,
    Kind,
)
from tracing.hang.doing import HangCause
from tracing.hang.explanation import Explanation, HangAnswer
from tracing.hang.live import look
from tracing.hang.live.procfs import state_of
from tracing.shapes import start
from tracing.shapes.shape import shape_named

START_S, REACHED_S, SETTLE_S, LOOK_S = 480.0, 120.0, 0.3, 1.0
RANK_COUNT = 2
LONG_PROMPT, LONG_PROMPTS, PREFILL_S = 7900, 6, 10.0  # after which the clients give up
UNREAD_TOKENS = 200  # about 50 KB of events: the client takes less than 10
REMOTE_PROMPT = 300  # tokens: more than a block
MANY_CLIENTS = 4  # of two engines: each then gets requests
CONNECTOR = {
    "kv_connector": "RemoteStore",
    "kv_connector_module_path": "tests.engine.hanging.remotestore",
    "kv_role": "kv_both",
}
REMOTE = (fault.KV_LOAD, fault.KV_ARRIVAL)
BEFORE_REQUESTS = (fault.EVENT_LOOP, *REMOTE)  # the fault meets a request as it comes
DEVICE_SHAPE = "one-gpu-device"
PLUGIN = str(ROOT / "tests" / "engine" / "hanging")
OPTIONS = {
    RANKS: ["--tensor-parallel-size", str(RANK_COUNT), "--kv-transfer-config", json.dumps(CONNECTOR)],
    DEVICE: ["--async-scheduling"],
    ENGINES: ["--data-parallel-size", "2"],
    STANDBY: [],
}
WITHOUT_RIGHT = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]


class HungServer:
    """The server, from `__enter__` to `__exit__`."""

    def __init__(self, folder: Path, setting: str) -> None:
        self.folder, self.port, self.setting = folder, free_port(), setting
        self.fault_file = folder / "fault"
        self.pipe = fault.pipe(self.fault_file)
        os.mkfifo(self.pipe)
        self.reached = self.fault_file.with_suffix(".reached")
        self.fault_file.write_text("")

    def __enter__(self) -> HungServer:
        server = [sys.executable, "-m", PROGRAM, "--model", str(two_layer_model()), "--served-model-name", "m"]
        server += ["--load-format", "dummy", "--dtype", "float32", "--enforce-eager", "--no-enable-prefix-caching"]
        server += ["--max-num-batched-tokens", "64", "--max-num-seqs", "16", "--host", HOST, "--port", str(self.port)]
        how = ["--standby"] if self.setting == STANDBY else ["--out", str(self.folder / "trace")]
        recorder = [sys.executable, "-m", "tracing.record", *how, "--"]
        environment = self._environment() | {"HANGING": str(self.fault_file), "VLLM_CPU_KVCACHE_SPACE": "1"}
        command = [*recorder, *server, *OPTIONS[self.setting]]
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log)
        try:
            self._await_start()
        except BaseException:
            self._kill()
            raise
        return self

    def _environment(self) -> dict[str, str]:
        if self.setting == DEVICE:
            return start.environment(shape_named(DEVICE_SHAPE)) | {"PYTHONPATH": PLUGIN}
        path = os.pathsep.join([FORKED["PYTHONPATH"], PLUGIN])
        return FORKED | {"PYTHONPATH": path, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            log = (self.folder / "log").read_text(errors="replace")
            assert self.process.poll() is None and time.monotonic() < deadline, log[-3000:]
            with contextlib.suppress(NoAnswer):
                if ask(here(self.port), "/health", timeout_s=5).status == 200:
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
            ask(here(self.port), "/v1/completions", body, timeout_s)

    def stream_until(self, done: threading.Event, prompt: object) -> None:
        """A stream that hangs up once `done` is set."""
        body = {"model": "m", "prompt": prompt, "max_tokens": 8000, "ignore_eos": True, "stream": True}
        with contextlib.suppress(NoAnswer):
            for _ in stream(here(self.port), "/v1/completions", body, timeout_s=60.0):
                if done.is_set():
                    return

    def victim(self, kind: Kind, draw: random.Random) -> int | None:
        """The process that a signal is sent to, drawn from those that the kind is about."""
        members = [member for member in self.group if member.role in kind.role.split()]
        return draw.choice(members).pid if kind.name in SIGNALS else None

    def stopped(self) -> list[int]:
        """The engine's processes that stand still."""
        return [member.pid for member in self.group if (state := state_of(member.pid)) and state.letter in "Tt"]

    # --- the kinds ---

    @contextlib.contextmanager
    def state(self, kind: Kind, draw: random.Random) -> Iterator[None]:
        """Bring the server into a state, with traffic and a moment that are drawn; out of it again at the end."""
        if kind.name == CLIENT:
            with self._unread():
                yield
            return
        done = threading.Event()
        clients = self._clients(kind, draw, done)
        before_requests = kind.fault in BEFORE_REQUESTS or draw.random() < 0.3
        victim = self.victim(kind, draw)
        if before_requests:
            self._begin(kind, victim)
        for client in clients:
            client.start()
        if not before_requests:
            time.sleep(draw.uniform(0.2, 0.8))
            self._begin(kind, victim)
        if kind.fault and not victim:
            self._await(self.reached.exists)
            self.reached.unlink()
        time.sleep(SETTLE_S)
        try:
            yield
        finally:
            done.set()
            self._end(victim)
            for client in clients:
                client.join()
            self.complete(1, timeout_s=REACHED_S)

    def _clients(self, kind: Kind, draw: random.Random, done: threading.Event) -> list[threading.Thread]:
        if kind.cause == HangCause.IDLE:
            return []
        if kind.name == PREFILL:
            prompts = [[draw.randrange(1000) for _ in range(LONG_PROMPT)] for _ in range(LONG_PROMPTS)]
            return [threading.Thread(target=self.complete, args=(1, prompt, PREFILL_S)) for prompt in prompts]
        prompt = [1] * REMOTE_PROMPT if kind.fault in REMOTE else "hello"
        count = MANY_CLIENTS if kind.setting == ENGINES else draw.randint(1, 3)
        return [threading.Thread(target=self.stream_until, args=(done, prompt)) for _ in range(count)]

    def _await(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + REACHED_S
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert condition(), "no process came to the fault"

    def _begin(self, kind: Kind, victim: int | None) -> None:
        self.reached.unlink(missing_ok=True)  # a slower rank may have told of the last fault after it was noticed
        self.fault_file.write_text(kind.fault)
        if victim:
            os.kill(victim, SIGNALS[kind.name])
            self._await(lambda: (state := state_of(victim)) is None or state.letter in SIGNALLED[kind.name])

    def _end(self, victim: int | None) -> None:
        self.fault_file.write_text(fault.OVER)
        with contextlib.suppress(OSError):  # nobody reads it
            os.close(os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK))
        if victim:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)

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

    def explanation(self, kind: Kind, seconds: float = LOOK_S) -> Explanation:
        """What the command finds: by the functions that it calls; by itself where it must have no right to trace."""
        if kind.traced:
            return look.explained(*look.group_at(f"{HOST}:{self.port}"), seconds)[1]
        command = [*WITHOUT_RIGHT, sys.executable, "-m", "tracing.hang", "--json", "--seconds", str(seconds)]
        ended = subprocess.run([*command, f"{HOST}:{self.port}"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        report = json.loads(ended.stdout)
        answers = (HangAnswer(HangCause(each["cause"]), each["process"], each["text"]) for each in report["answers"])
        return Explanation(tuple(answers), (), tuple(report["notes"]))
