"""A stand-in for an engine: processes with vLLM's titles, whose frames have the names of vLLM's functions and files.

`python standin.py KIND openai.api_server --port N` is the front end; it starts a core, which starts two workers. Each
does what a real one does in a hang of that kind, without computing anything.
"""

from __future__ import annotations

import asyncio
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IDLE, LOOP, LOCK, ASLEEP, LOST, SLOW = "idle", "loop", "lock", "asleep", "lost", "slow"
EVENT_LOOP, DEAD_OUTPUT_THREAD, STOPPED = "event loop", "dead output thread", "stopped"
SITE = "/elsewhere/site-packages/"
METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0"}} {running}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0"}} 0
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{{engine="0"}} {tokens}
"""
CORE = """
class EngineCoreProc:
    def run_engine_core(self):
        self.process_queue()
    def _process_input_queue(self):
        requests.get()
    def process_input_sockets(self):
        requests.get()
    def process_output_sockets(self):
        requests.get()
"""
QUEUE = """
class MessageQueue:
    def dequeue(self):
        messages.get()
"""
WORKER = """
class WorkerProc:
    def worker_main(self, call):
        self.worker_busy_loop(call)
    def worker_busy_loop(self, call):
        call()
"""
COLLECTIVE = """
def all_reduce():
    others.acquire()
"""
LOCKED = threading.Lock()


def defined(source: str, file: str, **names: Any) -> dict[str, Any]:
    """The definitions of a source whose frames say that they are of `file`."""
    exec(compile(source, SITE + file, "exec"), names)
    return names


def start(title: str, *words: str) -> None:
    """Python by another name does not know its own path: the kernel does."""
    subprocess.Popen([title, __file__, *words], executable=os.readlink("/proc/self/exe"))


def background(function: Callable[[], None], name: str) -> None:
    threading.Thread(target=function, name=name, daemon=True).start()


# --- the worker ---


def worker(kind: str, rank: str) -> None:
    Path("/proc/self/comm").write_text("VLLM::Worker_TP")  # as whoever sets a title does: it outlives the process
    names = defined(WORKER, "vllm/v1/executor/multiproc_executor.py")
    messages: queue.Queue[None] = queue.Queue()
    dequeue = defined(QUEUE, "vllm/distributed/device_communicators/shm_broadcast.py", messages=messages)[
        "MessageQueue"
    ]
    others = threading.Lock()
    others.acquire()
    reduce = defined(COLLECTIVE, "torch/distributed/distributed_c10d.py", others=others)["all_reduce"]
    calls = {LOOP: count, LOCK: update, ASLEEP: reduce if rank == "0" else rest, STOPPED: rest, SLOW: rest}
    names["WorkerProc"]().worker_main(calls.get(kind, dequeue().dequeue))


def count() -> None:
    rounds = 0
    while True:
        rounds += 1


def rest() -> None:
    while True:
        time.sleep(0.01)


def keep() -> None:
    with LOCKED:
        rest()


def update() -> None:
    background(keep, "keeper")
    time.sleep(0.1)
    with LOCKED:
        pass


# --- the core ---


def core(kind: str) -> None:
    for rank in ("0", "1"):
        start(f"VLLM::Worker_TP{rank}", "worker", kind, rank)
    requests: queue.Queue[None] = queue.Queue()
    engine = defined(CORE, "vllm/v1/engine/core.py", requests=requests)["EngineCoreProc"]()
    background(engine.process_input_sockets, "input")
    if kind != DEAD_OUTPUT_THREAD:
        background(engine.process_output_sockets, "output")
    file = "vllm/distributed/device_communicators/shm_broadcast.py"
    waiting = defined(QUEUE, file, messages=requests)["MessageQueue"]().dequeue
    idle = kind in (IDLE, EVENT_LOOP, DEAD_OUTPUT_THREAD)
    engine.process_queue = engine._process_input_queue if idle else waiting
    engine.run_engine_core()


# --- the front end ---


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str) -> None:
    """`/metrics` for any request, and a blocking call for `/block`."""
    line = await reader.readline()
    if b"/block" in line:
        ask_another_server()
    running, tokens = int(kind not in (IDLE, EVENT_LOOP)), int(time.monotonic() * 10) if kind == SLOW else 7
    body = METRICS.format(running=running, tokens=tokens).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


def ask_another_server() -> None:
    rest()


async def front_end(kind: str, port: int) -> None:
    start("VLLM::EngineCore", "core", kind)
    server = await asyncio.start_server(lambda reader, writer: answer(reader, writer, kind), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main(words: list[str]) -> None:
    if words[0] == "core":
        core(words[1])
    elif words[0] == "worker":
        worker(*words[1:])
    else:
        os.setsid()
        asyncio.run(front_end(words[0], int(words[-1])))


if __name__ == "__main__":
    main(sys.argv[1:])
