"""What holds up a step of the model, in the worker: a function a fault, which lasts as long as the fault does."""

from __future__ import annotations

import contextlib
import gc
import http.client
import importlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.engine.hanging import fault
from tests.engine.hanging.fault import current, pipe, reached

STEP_S = 0.4  # of a slow engine
LISTS, REFERENCES = 100_000, 300  # of each list to others: a collection that goes through them takes two seconds
FRESH_LISTS = 20_000
OPERATIONS = 20  # of a function whose compilation takes seconds

tables_lock = threading.Lock()


def hindered(execute_model: Callable[..., Any]) -> Callable[..., Any]:
    """A step of the model that a fault holds up, some in the last rank alone, some in one engine of two."""

    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        if hinder := hindrance(current(), self.rank, self.parallel_config):
            hinder()
        return execute_model(self, *args, **kwargs)

    return execute


def hindrance(asked: str, rank: int, parallel: Any) -> Callable[[], None] | None:
    """What this rank of this engine is held up by, if anything."""
    if asked in OF_ENGINES:
        return OF_ENGINES[asked].get(parallel.data_parallel_index)
    if asked in LAST_RANK_ALONE and rank != parallel.world_size - 1:
        return None
    return HINDRANCES.get(asked)


def count_for_ever() -> None:
    reached()
    rounds = 0
    while rounds % 10_000 or current() != fault.OVER:
        rounds += 1


def take_long() -> None:
    reached()
    time.sleep(STEP_S)


def rest() -> None:
    reached()
    while current() != fault.OVER:
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
        while current() == fault.LOCK:
            time.sleep(0.05)


def allocate() -> None:
    """Work whose every ten milliseconds are followed by a collection of seconds, which nobody asks for by name."""
    heap = tangled_heap()
    reached()
    while current() == fault.COLLECTION:
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


def compile_kernels() -> None:
    """One function after another, each new to the compiler, which is there before the first."""
    import torch

    importlib.import_module("torch._inductor.compile_fx")
    reached()
    while current() == fault.COMPILES:
        torch.compile(many_operations, dynamic=False)(torch.ones(64), random.random())
        torch.compiler.reset()


def many_operations(values: Any, factor: float) -> Any:
    for number in range(OPERATIONS):
        values = (values * factor + number).sin()
    return values


def start_program() -> None:
    """The kernel lets its caller go on when the program has opened its files: one that nobody writes to."""
    opened = (os.POSIX_SPAWN_OPEN, 0, str(pipe()), os.O_RDONLY, 0)
    reached()
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}, file_actions=[opened]), 0)


def read_settings() -> None:
    reached()
    pipe().read_text()


def ask_store() -> None:
    """A server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=close_at_end, args=(server,)).start()
        client = http.client.HTTPConnection(*server.getsockname())
        with contextlib.suppress(OSError):
            client.request("GET", "/blocks")
            reached()
            client.getresponse()


def close_at_end(server: socket.socket) -> None:
    while current() == fault.NETWORK:
        time.sleep(0.05)
    server.close()


HINDRANCES: dict[str, Callable[[], None]] = {
    fault.LOOP: count_for_ever,
    fault.LOCK: update_tables,
    fault.COLLECTION: allocate,
    fault.SLOW: take_long,
    fault.ASLEEP: rest,
    fault.COMPILES: compile_kernels,
    fault.KERNEL: start_program,
    fault.FILE: read_settings,
    fault.NETWORK: ask_store,
}
LAST_RANK_ALONE = (fault.ASLEEP, fault.COLLECTION, fault.COMPILES, fault.KERNEL, fault.FILE, fault.NETWORK)
OF_ENGINES: dict[str, dict[int, Callable[[], None]]] = {
    fault.FIRST_ENGINE: {0: count_for_ever},
    fault.SECOND_ENGINE: {1: count_for_ever},
    fault.BOTH_ENGINES: {0: count_for_ever, 1: rest},
}
