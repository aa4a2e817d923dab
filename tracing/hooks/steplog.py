"""The step log: what each engine step scheduled, when it began and when it ended, written by the core itself.

vLLM's running gauge is read after the step and is what is left over; what ran is in the scheduler's output, so the hook
sits on `Scheduler.schedule` and `Scheduler.update_from_output`, and costs a few microseconds a step.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"ESSTEP01"
HEADER = struct.Struct("<8sqq")  # magic, records written so far, process id
COUNT = struct.Struct("<q")  # the header's second field alone
RECORD = struct.Struct("<11q")
CAPACITY = 1 << 16  # records kept; an older one is overwritten, and the reader says so
STEP, GC_PAUSE = 0, 1
GC_FLOOR_NS = 100_000  # shorter pauses are noise beside a step of milliseconds

# What this module names inside vLLM: module, class, method.
STEP_SITES = (
    ("vllm.v1.core.sched.scheduler", "Scheduler", "schedule"),
    ("vllm.v1.core.sched.scheduler", "Scheduler", "update_from_output"),
)


@dataclass(frozen=True)
class Step:
    """One EngineCore iteration (`kind` 0), or a pause of its garbage collector (`kind` 1, the generation in `waiting`).

    Times are nanoseconds of CLOCK_MONOTONIC. `prefill_*` and `decode_*` count what was scheduled in the step; a request
    is prefilling until its first output token, `first_decodes` are in the step after that. `waiting` and
    `kv_used_blocks` are read right after scheduling.
    """

    kind: int
    start_ns: int
    end_ns: int
    prefill_requests: int
    prefill_tokens: int
    decode_requests: int
    decode_tokens: int
    waiting: int
    preempted: int
    kv_used_blocks: int
    first_decodes: int


STEP_FIELDS = tuple(Step.__dataclass_fields__)


# --- the core's side ---


class Writer:
    """Appends records to a mapped file: no system call a step, and what is written survives the process's death."""

    def __init__(self, folder: str) -> None:
        path = Path(folder, f"steps-{os.getpid()}.bin")
        size = HEADER.size + CAPACITY * RECORD.size
        with path.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, not a SIGBUS in the engine later
            self.map = mmap.mmap(file.fileno(), size)
        self.count = 0
        self.pending: deque[tuple[int, ...]] = deque()
        self.pauses: deque[tuple[int, ...]] = deque()
        self.awaiting: set[str] = set()
        HEADER.pack_into(self.map, 0, MAGIC, 0, os.getpid())
        gc.callbacks.append(self._on_gc)
        self._gc_start = 0

    def append(self, *values: int) -> None:
        # A collection may start in the middle of this very method, so its callback only takes a note for the next call.
        while self.pauses:
            self._write(*self.pauses.popleft())
        self._write(*values)

    def _write(self, *values: int) -> None:
        RECORD.pack_into(self.map, HEADER.size + self.count % CAPACITY * RECORD.size, *values)
        self.count += 1
        # The count goes last: a reader never sees a record that is not whole.
        COUNT.pack_into(self.map, len(MAGIC), self.count)

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        now = time.monotonic_ns()
        if phase == "start":
            self._gc_start = now
        elif now - self._gc_start >= GC_FLOOR_NS:
            self.pauses.append((GC_PAUSE, self._gc_start, now, 0, 0, 0, 0, info["generation"], 0, 0, 0))


_writer: Writer | None = None
_broken = False


def _fail(error: Exception) -> None:
    """Stop for good and say so once: a watcher never breaks inference."""
    global _broken
    _broken = True
    print(f"enginescope: the step log stopped: {type(error).__name__}: {error}", file=sys.stderr)


def step_wrapper(method: str, folder: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap_schedule(original: Callable[..., Any]) -> Callable[..., Any]:
        def schedule(self: Any, *args: Any, **kwargs: Any) -> Any:
            global _writer
            start = time.monotonic_ns()
            output = original(self, *args, **kwargs)
            if not _broken:
                try:
                    if _writer is None:
                        _writer = Writer(folder)
                    _writer.pending.append((start, *scheduled(self, output, _writer.awaiting)))
                except Exception as error:
                    _fail(error)
            return output

        return schedule

    def wrap_update(original: Callable[..., Any]) -> Callable[..., Any]:
        def update_from_output(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            # Outputs come back in the order of scheduling, with a batch queue too: first in, first out.
            if _writer is not None and not _broken and _writer.pending:
                try:
                    start, *counts = _writer.pending.popleft()
                    _writer.append(STEP, start, time.monotonic_ns(), *counts)
                except Exception as error:
                    _fail(error)
            return result

        return update_from_output

    return wrap_schedule if method == "schedule" else wrap_update


def scheduled(scheduler: Any, output: Any, awaiting: set[str]) -> tuple[int, ...]:
    """The counts of a `Step` from `prefill_requests` on, read from a scheduler and what it has just scheduled.

    `awaiting` holds the requests whose first decode is still to come, and is kept from step to step: while it is empty
    and nobody is admitted a step is all decodes, the common case, which is told without a look at each request.
    """
    running, total = len(output.num_scheduled_tokens), output.total_num_scheduled_tokens
    pool = scheduler.kv_cache_manager.block_pool
    used = pool.num_gpu_blocks - 1 - pool.get_num_free_blocks()
    preempted = len(output.preempted_req_ids) if output.preempted_req_ids else 0
    prefills = prefill_tokens = first_decodes = 0
    if awaiting or output.scheduled_new_reqs or output.scheduled_cached_reqs.resumed_req_ids:
        prefills, prefill_tokens, first_decodes = _told_apart(output, awaiting)
    decodes, decode_tokens = running - prefills, total - prefill_tokens
    waiting = len(scheduler.waiting)
    return (prefills, prefill_tokens, decodes, decode_tokens, waiting, preempted, used, first_decodes)


def _told_apart(output: Any, awaiting: set[str]) -> tuple[int, int, int]:
    """Prefilling requests, their tokens, and first decodes of a step; a resumed request is computed anew."""
    tokens, cached = output.num_scheduled_tokens, output.scheduled_cached_reqs
    prefilling = [request.req_id for request in output.scheduled_new_reqs]
    first_decodes = 0
    for name, generated in zip(cached.req_ids, cached.num_output_tokens, strict=True):
        if generated == 0 or name in cached.resumed_req_ids:
            prefilling.append(name)
        elif name in awaiting:
            awaiting.discard(name)
            first_decodes += 1
    awaiting.update(prefilling)
    awaiting.difference_update(output.finished_req_ids)
    return len(prefilling), sum(tokens[name] for name in prefilling), first_decodes


# --- the reader's side ---


class Reader:
    """Reads the step log of a running or dead core from its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mark(self) -> dict[str, int]:
        """How many records each core has written; pass it to `since` to get the later ones."""
        return {path.name: _written(path) for path in self._logs()}

    def since(self, mark: dict[str, int]) -> tuple[list[Step], int]:
        """The records written after `mark`, by start, and how many of those were overwritten before this look."""
        steps: list[Step] = []
        lost = 0
        for path in self._logs():
            asked, count = mark.get(path.name, 0), _written(path)
            first = max(asked, count - CAPACITY)
            lost += first - asked
            steps.extend(_read(path, first, count))
        return sorted(steps, key=lambda step: step.start_ns), lost

    def proof(self) -> list[dict[str, Any]]:
        """One entry a process that loaded the plugin: `pid`, `hooked`, `missing`."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("hooks-*.json"))]

    def start_phases(self) -> list[dict[str, Any]]:
        """The start-up phases that were passed, with what the worker knew then."""
        path = self.folder / "start.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("steps-*.bin"))


def _written(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    magic, count, _ = HEADER.unpack(head) if len(head) == HEADER.size else (b"", 0, 0)
    return count if magic == MAGIC else 0


def _read(path: Path, first: int, end: int) -> Iterator[Step]:
    with path.open("rb") as file:
        for index in range(first, end):
            if index == first or index % CAPACITY == 0:
                file.seek(HEADER.size + index % CAPACITY * RECORD.size)
            yield Step(*RECORD.unpack(file.read(RECORD.size)))
