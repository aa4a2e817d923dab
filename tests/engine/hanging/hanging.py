"""A plugin that makes a running engine hang in a way that is named from outside, and lets it go on again.

The file that `HANGING` names holds one word, or nothing. Each fault lasts while the file holds its word. A process that
has come to the fault touches the file of the same name that ends in `.reached`.
"""

from __future__ import annotations

import importlib
import multiprocessing.connection
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.engine.hanging import fault
from tests.engine.hanging.fault import current, reached
from tests.engine.hanging.hindrances import hindered
from tracing.shapes.platform import take_shape
from tracing.shapes.pretend.device import PretendDevice
from tracing.shapes.start import started_shape

swallowed: set[str] = set()


def load() -> None:
    """Put the faults into every process of the engine."""
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.executor.multiproc_executor import MultiprocExecutor
    from vllm.v1.serial_utils import MsgpackEncoder
    from vllm.v1.worker.gpu_worker import Worker

    MultiprocExecutor.start_worker_monitor = distracted(MultiprocExecutor.start_worker_monitor)
    MultiprocExecutor.shutdown = delayed(MultiprocExecutor.shutdown)
    Worker.execute_model = hindered(Worker.execute_model)
    MessageQueue.enqueue = swallowing(MessageQueue.enqueue)
    AsyncLLM.add_request = blocking(AsyncLLM.add_request)
    MsgpackEncoder.encode_into = dying(MsgpackEncoder.encode_into)
    EngineCoreProc.process_output_sockets = succeeded(EngineCoreProc.process_output_sockets)
    if shape := started_shape():
        importlib.import_module("vllm.v1.worker.cpu.shm")  # puts an event of its own into torch: now, not later
        take_shape(replace(shape, start_method="fork"))
        PretendDevice.wait_until = stalled(PretendDevice.wait_until)


# --- the pretend device ---


def stalled(wait_until: Callable[..., None]) -> Callable[..., None]:
    """A wait for the pretend device, which finishes nothing while a fault lasts."""

    def wait(self: Any, end_ns: int, step: int) -> None:
        if current() == fault.DEVICE:
            reached()
        while current() == fault.DEVICE:
            time.sleep(0.05)
        wait_until(self, end_ns, step)

    return wait


# --- between core and worker ---


def swallowing(enqueue: Callable[..., None]) -> Callable[..., None]:
    """A queue that keeps one message back while a fault lasts: the core's call, or the worker's answer."""

    def put(self: Any, message: Any, *args: Any, **kwargs: Any) -> None:
        asked = current()
        from_core = len(message) == 4
        if asked != (fault.LOST_TO_WORKER if from_core else fault.LOST_TO_CORE) or asked in swallowed:
            return enqueue(self, message, *args, **kwargs)
        if from_core and message[0] != "execute_model":
            return enqueue(self, message, *args, **kwargs)
        swallowed.add(asked)
        reached()
        threading.Thread(target=deliver, args=(asked, enqueue, self, message), daemon=True).start()
        return None

    return put


def deliver(asked: str, enqueue: Callable[..., None], queue: Any, message: Any) -> None:
    while current() == asked:
        time.sleep(0.02)
    swallowed.discard(asked)
    enqueue(queue, message)


# --- a core whose worker has died ---


def distracted(start_worker_monitor: Callable[..., None]) -> Callable[..., None]:
    """A core that does not look after its dead worker while a fault lasts."""

    def start(self: Any, inline: bool = False) -> None:
        threading.Thread(target=watch, args=(self,), daemon=True).start()

    def watch(executor: Any) -> None:
        multiprocessing.connection.wait([handle.proc.sentinel for handle in executor.workers])
        while current() == fault.ZOMBIE:
            time.sleep(0.02)
        start_worker_monitor(executor, inline=True)

    return start


def delayed(shutdown: Callable[..., None]) -> Callable[..., None]:
    """A core that has noticed its worker's death, and does not end while a fault lasts."""

    def end(self: Any) -> None:
        while current() == fault.GONE:
            time.sleep(0.02)
        shutdown(self)

    return end


# --- in the front end, and on the way back to it ---


def blocking(add_request: Callable[..., Any]) -> Callable[..., Any]:
    async def add(self: Any, *args: Any, **kwargs: Any) -> Any:
        if current() == fault.EVENT_LOOP:
            reached()
            ask_another_server()
        return await add_request(self, *args, **kwargs)

    return add


def ask_another_server() -> None:
    while current() == fault.EVENT_LOOP:
        time.sleep(0.05)


def dying(encode_into: Callable[..., Any]) -> Callable[..., Any]:
    def encode(self: Any, *args: Any, **kwargs: Any) -> Any:
        if current() == fault.DEAD_OUTPUT_THREAD:
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
    while current() == fault.DEAD_OUTPUT_THREAD:
        time.sleep(0.02)
    process(core, *args, **kwargs)
