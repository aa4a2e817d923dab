"""A plugin that makes a running engine hang in a way that is named from outside, and lets it go on again.

The file that `HANGING` names holds one word, or nothing. Each fault lasts while the file holds its word. A process that
has come to the fault touches the file of the same name that ends in `.reached`.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracing.shapes.platform import take_shape
from tracing.shapes.pretend.device import PretendDevice
from tracing.shapes.start import started_shape

FAULT = Path(os.environ.get("HANGING", os.devnull))
LOOP, LOCK, COLLECTION, SLOW, ASLEEP = "loop", "lock", "collection", "slow", "asleep"
LOST_TO_WORKER, LOST_TO_CORE = "lost to worker", "lost to core"
EVENT_LOOP, DEAD_OUTPUT_THREAD = "event loop", "dead output thread"
KV_LOAD, KV_ARRIVAL, DEVICE = "KV load", "KV arrival", "device"
STEP_S = 0.4  # of a slow engine
LISTS, REFERENCES = 100_000, 300  # of each list to others: a collection that goes through them takes two seconds
FRESH_LISTS = 20_000

tables_lock = threading.Lock()
swallowed: set[str] = set()


def current() -> str:
    """The fault that is asked for."""
    return FAULT.read_text()


def reached() -> None:
    """Tell whoever asked for the fault that it has begun."""
    FAULT.with_suffix(".reached").touch()


def load() -> None:
    """Put the faults into every process of the engine."""
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.serial_utils import MsgpackEncoder
    from vllm.v1.worker.gpu_worker import Worker

    Worker.execute_model = hindered(Worker.execute_model)
    MessageQueue.enqueue = swallowing(MessageQueue.enqueue)
    AsyncLLM.add_request = blocking(AsyncLLM.add_request)
    MsgpackEncoder.encode_into = dying(MsgpackEncoder.encode_into)
    EngineCoreProc.process_output_sockets = succeeded(EngineCoreProc.process_output_sockets)
    if shape := started_shape():
        importlib.import_module("vllm.v1.worker.cpu.shm")  # puts an event of its own into torch: now, not later
        take_shape(replace(shape, start_method="fork"))
        PretendDevice.wait_until = stalled(PretendDevice.wait_until)


# --- in the worker ---


def hindered(execute_model: Callable[..., Any]) -> Callable[..., Any]:
    """A step of the model that a fault holds up, some in the last rank alone."""

    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        fault = current()
        last = self.rank == self.parallel_config.world_size - 1
        if fault in HINDRANCES and (last or fault not in LAST_RANK_ALONE):
            HINDRANCES[fault]()
        return execute_model(self, *args, **kwargs)

    return execute


def count_for_ever() -> None:
    reached()
    rounds = 0
    while rounds % 10_000 or current() == LOOP:
        rounds += 1


def take_long() -> None:
    reached()
    time.sleep(STEP_S)


def rest() -> None:
    reached()
    while current() == ASLEEP:
        time.sleep(0.05)


def update_tables() -> None:
    keeper = threading.Thread(target=keep_tables, name="keeper")
    keeper.start()
    while not tables_lock.locked() and keeper.is_alive():
        time.sleep(0.01)
    reached()
    with tables_lock:
        pass


def keep_tables() -> None:
    with tables_lock:
        while current() == LOCK:
            time.sleep(0.05)


def allocate() -> None:
    """Work whose every ten milliseconds are followed by a collection of seconds, which nobody asks for by name."""
    heap = tangled_heap()
    reached()
    while current() == COLLECTION:
        [[] for _ in range(FRESH_LISTS)]
    for each in heap:
        each.clear()  # or another collection would have to find it


def tangled_heap() -> list[list[Any]]:
    """Lists that refer to others all over the memory, and are all that a collection goes through."""
    gc.freeze()
    gc.collect()  # what is frozen counts until then: the more there is, the later the next full one
    gc.disable()
    heap: list[list[Any]] = [[] for _ in range(LISTS)]
    mixed = random.Random(0).sample(heap, LISTS)
    for number, each in enumerate(heap):
        begin = number * 7919 % (LISTS - REFERENCES)
        each.extend(mixed[begin : begin + REFERENCES])
    gc.enable()
    return heap


HINDRANCES: dict[str, Callable[[], None]] = {
    LOOP: count_for_ever,
    LOCK: update_tables,
    COLLECTION: allocate,
    SLOW: take_long,
    ASLEEP: rest,
}
LAST_RANK_ALONE = (ASLEEP, COLLECTION)


def stalled(wait_until: Callable[..., None]) -> Callable[..., None]:
    """A wait for the pretend device, which finishes nothing while a fault lasts."""

    def wait(self: Any, end_ns: int, step: int) -> None:
        if current() == DEVICE:
            reached()
        while current() == DEVICE:
            time.sleep(0.05)
        wait_until(self, end_ns, step)

    return wait


# --- between core and worker ---


def swallowing(enqueue: Callable[..., None]) -> Callable[..., None]:
    """A queue that keeps one message back while a fault lasts: the core's call, or the worker's answer."""

    def put(self: Any, message: Any, *args: Any, **kwargs: Any) -> None:
        fault = current()
        from_core = len(message) == 4
        if fault != (LOST_TO_WORKER if from_core else LOST_TO_CORE) or fault in swallowed:
            return enqueue(self, message, *args, **kwargs)
        if from_core and message[0] != "execute_model":
            return enqueue(self, message, *args, **kwargs)
        swallowed.add(fault)
        reached()
        threading.Thread(target=deliver, args=(fault, enqueue, self, message), daemon=True).start()
        return None

    return put


def deliver(fault: str, enqueue: Callable[..., None], queue: Any, message: Any) -> None:
    while current() == fault:
        time.sleep(0.02)
    swallowed.discard(fault)
    enqueue(queue, message)


# --- in the front end, and on the way back to it ---


def blocking(add_request: Callable[..., Any]) -> Callable[..., Any]:
    async def add(self: Any, *args: Any, **kwargs: Any) -> Any:
        if current() == EVENT_LOOP:
            reached()
            ask_another_server()
        return await add_request(self, *args, **kwargs)

    return add


def ask_another_server() -> None:
    while current() == EVENT_LOOP:
        time.sleep(0.05)


def dying(encode_into: Callable[..., Any]) -> Callable[..., Any]:
    def encode(self: Any, *args: Any, **kwargs: Any) -> Any:
        if current() == DEAD_OUTPUT_THREAD:
            reached()
            raise SystemExit  # ends a thread without a word
        return encode_into(self, *args, **kwargs)

    return encode


def succeeded(process_output_sockets: Callable[..., None]) -> Callable[..., None]:
    """The core's output thread; after its death, and once the fault is over, another one goes on in its place."""

    def process(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            process_output_sockets(self, *args, **kwargs)
        except SystemExit:
            threading.Thread(target=succeed, args=(process, self, args, kwargs), daemon=True).start()
            raise

    return process


def succeed(process: Callable[..., None], core: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    while current() == DEAD_OUTPUT_THREAD:
        time.sleep(0.02)
    process(core, *args, **kwargs)
