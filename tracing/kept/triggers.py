"""Notices what conditions ask for, in the records of a front end and a core as they are written.

Nothing of it runs in the engine: who watches reads the rings. A front end's calls and a core's steps are followed by
their numbers; a value is known when its last record is there. `LLM.generate` hands over all outputs at its return, so
it has neither a time to the first output nor one between outputs; the latency of its requests is that in the core.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tracing.events.layout import CALLED, ENDED, RAISED, SPAN, YIELDED
from tracing.kept.condition import Condition, Happening, Occurrence, QuantileLimit, Quantity, Recent, TimeLimit
from tracing.sites.engine import CODES

GENERATE, SCHEDULE, UPDATE, PREEMPT = (
    CODES[name] for name in ("async.generate", "scheduler.schedule", "scheduler.update", "scheduler.preempt")
)
OF_BATCH, ADMIT, FREE = (CODES[name] for name in ("llm.add_request", "core.add_request", "scheduler.free"))
STREAMED: tuple[Quantity, ...] = ("ttft", "itl")  # times that only the calls of `AsyncLLM.generate` have
IN_ENGINE = [CODES[name] for name in ("scheduler.schedule", "scheduler.update", "worker.execute", "worker.sample")]
T = TypeVar("T")
MOST_OPEN = 100_000  # calls and steps whose end has not come


@dataclass(frozen=True)
class Firing:
    """A condition that was met: when (ns of CLOCK_MONOTONIC), by which value (ns, 0 for none), of which request (the
    number of a text of process `pid`, 0 for none) or step (-1 for none)."""

    condition: str
    at_ns: int
    value_ns: int
    pid: int
    request: int = 0
    step: int = -1


@dataclass
class OpenCall:
    """A call of `generate` that goes on; when it began is None where that was before anybody looked."""

    start_ns: int | None
    request: int
    last_ns: int = 0

    @property
    def since_ns(self) -> int:
        """Since when it is known to go on."""
        return self.last_ns if self.start_ns is None else self.start_ns


class Triggers:
    """Some conditions, and what has to be known of calls and steps to decide them."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.conditions = conditions
        self._recent = [Recent(each.quantile) if isinstance(each, QuantileLimit) else None for each in conditions]
        self._calls: dict[tuple[int, int], OpenCall] = {}
        self._steps: dict[tuple[int, int], int] = {}
        self._admitted: dict[tuple[int, int], int] = {}  # by core and request: since when it is there
        self.has_batches = False  # whether requests come from `LLM`
        self._begun_ns = 0  # when a step that computes something last began
        self._stuck: set[str] = set()  # the conditions that this hang has met

    def look(self, pid: int, records: np.ndarray) -> Iterator[Firing]:
        """The conditions that new records of a process meet, in their order."""
        spans = (records["kind"] == SPAN) | (records["kind"] == RAISED)
        rows = records[spans & np.isin(records["site"], [GENERATE, OF_BATCH, ADMIT, FREE, PREEMPT, *IN_ENGINE])]
        rows = rows[(rows["site"] != GENERATE) | (rows["value"] != 0) | (rows["kind"] == RAISED)]
        rows = rows[(rows["kind"] == SPAN) | ~np.isin(rows["site"], (OF_BATCH, ADMIT, FREE))]
        for start, end, step, value, _, request, extra, site, kind in rows.tolist():
            if site == GENERATE:
                yield from self._call(pid, extra >> 1, bool(extra & 1), start, end, value, request, kind == RAISED)
            elif site == PREEMPT:
                yield from self._happened("preempted", Firing("", end, 0, pid, request, step))
            elif site == OF_BATCH:
                self.has_batches = True
            elif site == ADMIT:
                _open(self._admitted, (pid, request), start)
            elif site == FREE and (pid, request) in self._admitted:
                yield from self._freed(end, end - self._admitted.pop((pid, request)), pid, request)
            elif kind == RAISED:
                yield from self._happened("error", Firing("", end, 0, pid, request, step))
            elif site == SCHEDULE:
                _open(self._steps, (pid, step), start)
                if value:  # the tokens that it computes
                    self._begun_ns = max(self._begun_ns, end)
                    self._stuck.clear()
            elif site == UPDATE and (pid, step) in self._steps:
                yield from self._took("step", Firing("", end, end - self._steps.pop((pid, step)), pid, 0, step))

    def stuck(self, now_ns: int) -> Iterator[Firing]:
        """The conditions that an engine meets by beginning no step though a call goes on: each once a hang."""
        calls = [(call.since_ns, pid, call.request) for (pid, _), call in self._calls.items()]
        if self.has_batches:
            calls += [(start_ns, pid, request) for (pid, request), start_ns in self._admitted.items()]
        if not calls:
            return
        start_ns, pid, request = min(calls)
        still_ns = now_ns - max(start_ns, self._begun_ns)
        for firing in self._took("stuck", Firing("", now_ns, still_ns, pid, request)):
            if firing.condition not in self._stuck:
                self._stuck.add(firing.condition)
                yield firing

    def forget(self, pid: int) -> None:
        """Leave out the calls of a process of which records are lost: their ends may be among those."""
        self._calls = {key: call for key, call in self._calls.items() if key[0] != pid}
        self._admitted = {key: start_ns for key, start_ns in self._admitted.items() if key[0] != pid}

    def unmet(self) -> list[str]:
        """The conditions that nothing can meet where requests come from `LLM`."""
        if not self.has_batches:
            return []
        return [each.text for each in self.conditions if not isinstance(each, Happening) and each.quantity in STREAMED]

    def _freed(self, end_ns: int, took_ns: int, pid: int, request: int) -> Iterator[Firing]:
        """The latency of a request of `LLM`; that of a call of `AsyncLLM` is known where it was made."""
        if self.has_batches:
            yield from self._took("latency", Firing("", end_ns, took_ns, pid, request))

    def _call(
        self, pid: int, number: int, is_last: bool, start: int, end: int, value: int, request: int, is_raised: bool
    ) -> Iterator[Firing]:
        key = (pid, number)
        if value == CALLED and not is_raised:
            _open(self._calls, key, OpenCall(start, request))
            return
        call = self._calls.get(key)
        if call is None:
            if value == YIELDED and not is_last and not is_raised:
                _open(self._calls, key, OpenCall(None, request, end))
            return
        if value == YIELDED and not is_raised:
            quantity: Quantity = "itl" if call.last_ns else "ttft"
            yield from self._took(quantity, Firing("", end, end - (call.last_ns or call.since_ns), pid, call.request))
            call.last_ns = end
        if is_last and call.start_ns is not None:
            yield from self._took("latency", Firing("", end, end - call.start_ns, pid, call.request))
        if is_last or is_raised or value == ENDED:
            del self._calls[key]

    def _took(self, quantity: Quantity, firing: Firing) -> Iterator[Firing]:
        for condition, recent in zip(self.conditions, self._recent, strict=True):
            if isinstance(condition, Happening) or condition.quantity != quantity:
                continue
            if isinstance(condition, TimeLimit):
                met = firing.value_ns > condition.limit_ns
            else:
                met = recent is not None and recent.exceeds(firing.value_ns, condition.factor)
            if met:
                yield _named(firing, condition)

    def _happened(self, what: Occurrence, firing: Firing) -> Iterator[Firing]:
        for condition in self.conditions:
            if isinstance(condition, Happening) and condition.what == what:
                yield _named(firing, condition)


def _open(among: dict[tuple[int, int], T], key: tuple[int, int], value: T) -> None:
    """Remember what has begun; where too much has, the ends of most were lost."""
    if len(among) >= MOST_OPEN:
        among.clear()
    among[key] = value


def _named(firing: Firing, condition: Condition) -> Firing:
    return Firing(condition.text, firing.at_ns, firing.value_ns, firing.pid, firing.request, firing.step)
