"""What a variant does, whatever it is built on: it takes requests and says when their tokens came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from offline.load.records import StepLine
from offline.records.resolved import Resolved

Receive = Callable[[int, int], None]  # at each output: the time in ns of CLOCK_MONOTONIC, the tokens that it held


@dataclass(frozen=True)
class ScheduledRequest:
    """A request of a schedule: when it is due, what it asks, and how many tokens are generated for it."""

    id: int
    at_s: float  # after the schedule's beginning
    prompt_token_ids: tuple[int, ...]
    output_tokens: int  # exactly: the end-of-sequence token does not end it
    sampling: Mapping[str, float] = field(default_factory=dict)  # temperature, top_p, top_k, seed; {} is greedy


@dataclass(frozen=True)
class Ending:
    """How a request ended, as its variant knows it."""

    finish: str  # length, stop, failed or aborted
    cached_tokens: int | None = None
    error: str | None = None
    queued_ns: int | None = None
    preemptions: int | None = None
    started_ns: int | None = None  # when it first ran: the end of its time in the queue
    sent_ns: int | None = None  # where a client of a server sent it: later than the sender did
    prefilled_ns: int | None = None  # where another engine computed its prompt: when that had


class Serving(Protocol):
    """A started variant, in its own process, on that process's event loop."""

    resolved: Resolved
    vocabulary: int

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        """Generate for one request; a cancelled call gives the request up and frees what it held."""
        ...

    async def reset(self) -> bool:
        """Forget all cached prefixes; False where requests still held some and it did not."""
        ...

    def steps(self) -> tuple[list[StepLine], int]:
        """The steps since the last call, in order, and how many before them were lost; none where not known."""
        ...

    def close(self) -> None:
        """Stop whatever it runs on."""
        ...
