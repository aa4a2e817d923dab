"""A plugin that makes a running engine hang in a way that is named from outside, and lets it go on again.

The file that `HANGING` names holds one word, or nothing. Each fault lasts while the file holds its word, but for
`dead output thread`, from which an engine does not recover. A process that has come to the fault touches the file of
the same name that ends in `.reached`.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULT = Path(os.environ.get("HANGING", os.devnull))
LOOP, LOCK, COLLECTION, SLOW, ASLEEP = "loop", "lock", "collection", "slow", "asleep"
LOST_TO_WORKER, LOST_TO_CORE = "lost to worker", "lost to core"
EVENT_LOOP, DEAD_OUTPUT_THREAD = "event loop", "dead output thread"
STEP_S = 0.4  # of a slow engine
OBJECTS = 2_000_000  # that a collection goes through: about a tenth of a second

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
    from vllm.v1.serial_utils import MsgpackEncoder
    from vllm.v1.worker.gpu_worker import Worker

    Worker.execute_model = hindered(Worker.execute_model)
    MessageQueue.enqueue = swallowing(MessageQueue.enqueue)
    AsyncLLM.add_request = blocking(AsyncLLM.add_request)
    MsgpackEncoder.encode_into = dying(MsgpackEncoder.encode_into)


# --- in the worker ---


def hindered(execute_model: Callable[..., Any]) -> Callable[..., Any]:
    """A step of the model that a fault holds up; `asleep` is for the last rank alone."""

    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        fault = current()
        last = self.rank == self.parallel_config.world_size - 1
        if fault in HINDRANCES and (fault != ASLEEP or last):
            reached()
            HINDRANCES[fault]()
        return execute_model(self, *args, **kwargs)

    return execute


def count_for_ever() -> None:
    rounds = 0
    while rounds % 10_000 or current() == LOOP:
        rounds += 1


def take_long() -> None:
    time.sleep(STEP_S)


def rest() -> None:
    while current() == ASLEEP:
        time.sleep(0.05)


def update_tables() -> None:
    keeper = threading.Thread(target=keep_tables, name="keeper")
    keeper.start()
    while not tables_lock.locked() and keeper.is_alive():
        time.sleep(0.01)
    with tables_lock:
        pass


def keep_tables() -> None:
    with tables_lock:
        while current() == LOCK:
            time.sleep(0.05)


def collect_again_and_again() -> None:
    heap = [[] for _ in range(OBJECTS)]
    while current() == COLLECTION:
        gc.collect()
    del heap


HINDRANCES: dict[str, Callable[[], None]] = {
    LOOP: count_for_ever,
    LOCK: update_tables,
    COLLECTION: collect_again_and_again,
    SLOW: take_long,
    ASLEEP: rest,
}


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
