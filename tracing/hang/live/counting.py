"""What an engine counted between two looks: whether anything moved, and what it still has to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from probes.errors import EnginescopeError
from probes.metrics.endpoint import Endpoint, look
from probes.metrics.exposition import Snapshot, Window
from probes.metrics.quantities import (
    COUNTERS,
    ENGINE,
    GAUGES,
    ITERATION_TOKENS,
    KV_CACHE_USAGE,
    ServerMetric,
    engines,
    gauge,
    has_any,
    name_in,
)
from tracing.hang.situation import Counters

TIMEOUT_S = 3.0
# What grows only where the core steps: a client that gives up counts as finished, and a lookup is before any step.
PROGRESS = tuple(metric for metric in COUNTERS if metric.key in ("prompt_tokens", "generation_tokens", "preemptions"))
RUNNING, WAITING, _ = GAUGES
BY_REASON, DEFERRED = "vllm:num_requests_waiting_by_reason", {"reason": "deferred"}


def snapshot(at: Endpoint) -> Snapshot | None:
    """One look at the counters; None where the server does not answer in time, or counts nothing of vLLM's."""
    try:
        counts = look(at, TIMEOUT_S)
    except EnginescopeError:
        return None
    return counts if has_any(counts) else None


def counted(window: Window) -> Counters:
    """The window as this command needs it: of all engines together, and of each where there are several."""
    names = [name for name in engines(window.after) if name.isdigit()]
    each = {int(name): _counted(window, {ENGINE: name}) for name in names} if names[1:] else {}
    return replace(_counted(window, {}), engines=each)


def _counted(window: Window, where: Mapping[str, str]) -> Counters:
    """The window of the engines whose labels are these."""
    running, waiting = (gauge(window.after, metric, where) for metric in (RUNNING, WAITING))
    deferred = window.after.total(BY_REASON, {**DEFERRED, **where})
    return Counters(window.seconds, running, waiting, _moved(window, where), deferred)


def _moved(window: Window, where: Mapping[str, str]) -> tuple[str, ...]:
    """What changed of the engines whose labels are these."""
    moved = []
    for metric in PROGRESS:
        name = name_in(window.after, metric)
        if name and (increase := window.increase(name, where)):
            moved.append(f"{increase:,.0f} {metric.title}")
    steps = window.increase(f"{ITERATION_TOKENS}_count", where)
    if steps:
        moved.append(f"{steps:,.0f} steps")
    if change := _change(window, RUNNING, where):  # requests that wait come without a step too
        moved.append(f"{change[0]:g} to {change[1]:g} running")
    if change := _change(window, KV_CACHE_USAGE, where):
        moved.append(f"{KV_CACHE_USAGE.title} from {100 * change[0]:.3g}% to {100 * change[1]:.3g}%")
    return tuple(moved)


def _change(window: Window, metric: ServerMetric, where: Mapping[str, str]) -> tuple[float, float] | None:
    """A gauge before and after; None where it has not changed, or is not known."""
    before, after = (gauge(look, metric, where) for look in (window.before, window.after))
    return None if before is None or after is None or before == after else (before, after)
