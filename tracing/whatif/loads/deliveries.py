"""The requests of an engine out of its front ends' rings: when each was sent to the core, and what it was delivered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tracing.timeline.intervals import Ints
from tracing.whatif.steps import DELIVER, SEND, RecordedEngine


@dataclass(frozen=True)
class DeliveryTimes:
    """Times in ns of CLOCK_MONOTONIC: of requests that were sent and delivered, arrays of one length; and of the gaps
    between two deliveries of a request, arrays of another."""

    sent_ns: Ints
    first_ns: Ints
    last_ns: Ints
    gap_begin_ns: Ints
    gap_end_ns: Ints


def delivery_times(engine: RecordedEngine) -> DeliveryTimes:
    """Those of all front ends; a request whose sending was not recorded has only gaps."""
    parts = [part for pid in engine.records for part in _in_process(engine, pid)]
    empty = np.zeros(0, dtype=np.int64)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [empty] * 5
    return DeliveryTimes(*columns)


def _in_process(engine: RecordedEngine, pid: int) -> Iterator[tuple[Ints, ...]]:
    delivered, sent = (engine.spans(pid, code) for code in (DELIVER, SEND))
    sent = sent[sent["request"] > 0]  # others tell of requests that are given up
    if not len(delivered):
        return
    delivered = delivered[np.lexsort((delivered["end"], delivered["request"]))]
    request, end_ns = delivered["request"], delivered["end"].astype(np.int64)
    same = request[1:] == request[:-1]
    numbers, first = np.unique(request, return_index=True)
    last = np.append(first[1:], len(request)) - 1
    _, of_sent, of_delivered = np.intersect1d(sent["request"], numbers, return_indices=True)
    yield (
        sent["start"].astype(np.int64)[of_sent],
        end_ns[first[of_delivered]],
        end_ns[last[of_delivered]],
        end_ns[:-1][same],
        end_ns[1:][same],
    )
