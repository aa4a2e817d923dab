"""What the recorder costs, measured after a recording: a span of each kind, weighted by the spans that were written.

Measured in processor time: what else the machine does meanwhile is no cost of the recorder's.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

from tracing import timeline
from tracing.events import layout
from tracing.hooks import _recorder
from tracing.hooks.wrappers import steps, table
from tracing.sites.engine import ALL_SITES, CODES
from tracing.sites.site import Site

ROUNDS, CALLS = 10, 2000
BATCH = 16  # requests of the step that is measured
REQUEST = SimpleNamespace(request_id="request", num_output_tokens=1, status=SimpleNamespace(name="FINISHED_STOPPED"))
IDS = [f"request {number}" for number in range(BATCH)]
SCHEDULED = SimpleNamespace(  # a step of decodes, as vLLM's scheduler hands it out
    num_scheduled_tokens=dict.fromkeys(IDS, 1),
    total_num_scheduled_tokens=BATCH,
    scheduled_new_reqs=[],
    scheduled_cached_reqs=SimpleNamespace(resumed_req_ids=()),
    preempted_req_ids=None,
)
BLOCKS = SimpleNamespace(num_gpu_blocks=1024, get_num_free_blocks=lambda: 512)
SCHEDULER = SimpleNamespace(
    kv_cache_manager=SimpleNamespace(block_pool=BLOCKS), waiting=(), max_num_scheduled_tokens=1, max_num_running_reqs=1
)
MESSAGES = {0: SimpleNamespace(outputs=IDS, finished_requests=None, timestamp=1.5)}


def span_counts(folder: Path) -> dict[str, int]:
    """The spans of a trace folder by site."""
    if not any(folder.glob("events-*.bin")):
        return {}
    return {str(site): int(count) for site, count in timeline.read(folder).spans["site"].value_counts().items()}


def ns_by_site(spans: Mapping[str, int]) -> dict[str, float]:
    """What a span of each of these sites costs, as measured on this machine now.

    Empty where nothing was recorded, or the disk has no room for an event file.
    """
    kinds = {site.name: kind_of(site) for site in ALL_SITES if spans.get(site.name)}
    if not kinds:
        return {}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _recorder.start(f"{scratch}/events.bin", layout.SCHEMA, 1 << 20)
            costs = {kind: statistics.median(_fresh(kind) for _ in range(ROUNDS)) for kind in {*kinds.values()}}
            _recorder.stop()
    except OSError:
        return {}
    return {name: round(costs[kind], 1) for name, kind in kinds.items()}


def ns_per_span(spans: Mapping[str, int], costs: Mapping[str, float]) -> float | None:
    """What a span cost on the mean, of so many by site; None where that is not known."""
    counts = {name: spans[name] for name in costs}
    return round(sum(costs[name] * counts[name] for name in costs) / sum(counts.values()), 1) if counts else None


def _fresh(kind: Callable[[], float]) -> float:
    _recorder.extend()
    return kind()


def kind_of(site: Site) -> Callable[[], float]:
    """What measures a span like the site's."""
    if site.kind in ("coroutine", "async generator"):
        return segment_ns
    if site.name in ("scheduler.schedule", "scheduler.update"):
        return schedule_ns if site.name == "scheduler.schedule" else update_ns
    if site.name in table.WRITING or site.name in steps.NUMBERING:
        return python_ns
    return request_ns if site.name in table.WHO or site.name in table.NUMBERS else plain_ns


def plain_ns() -> float:
    """A span without request or numbers, the cheapest kind."""
    return _added_ns(lambda given: None, _hook("runner.update"))


def request_ns() -> float:
    """One with its request and its numbers."""
    return _added_ns(lambda scheduler, request: None, _hook("scheduler.free", 2), (None, REQUEST))


def python_ns() -> float:
    """One whose wrapper is a function of Python's."""
    return _added_ns(lambda given: None, _hook("executor.wait"))


def schedule_ns() -> float:
    """One of a step, with the list of its batch and its counts."""
    return _step_ns("scheduler.schedule", lambda scheduler, given: SCHEDULED)


def update_ns() -> float:
    """One of a step's end, with a mark for each front end's message."""
    return _step_ns("scheduler.update", lambda scheduler, scheduler_output: MESSAGES)


def _step_ns(name: str, original: Callable[..., object]) -> float:
    return _added_ns(original, table.wrapper_of(ALL_SITES[CODES[name]])(original), (SCHEDULER, SCHEDULED))


def segment_ns() -> float:
    """A segment of a coroutine."""

    async def nothing(given: object) -> None:
        return None

    async def called(function: Callable[[object], Awaitable[object]]) -> int:
        start = time.thread_time_ns()
        for _ in range(CALLS):
            await function(None)
        return time.thread_time_ns() - start

    hooked = table.wrapper_of(ALL_SITES[CODES["async.abort"]])(nothing)
    plain, spans = asyncio.run(called(nothing)), asyncio.run(called(hooked))
    return (spans - plain) / CALLS


def _hook(name: str, arguments: int = 1) -> Callable[..., object]:
    original: Callable[..., object] = (lambda given: None) if arguments == 1 else (lambda owner, given: None)
    return table.wrapper_of(ALL_SITES[CODES[name]])(original)


def _added_ns(plain: Callable[..., object], hooked: Callable[..., object], args: tuple[object, ...] = (None,)) -> float:
    """Nanoseconds a call that the hook adds."""
    times = []
    for function in (plain, hooked):
        start = time.thread_time_ns()
        for _ in range(CALLS):
            function(*args)
        times.append(time.thread_time_ns() - start)
    return (times[1] - times[0]) / CALLS
