"""Which load an engine is under: a fixed number of streams, or requests that come and go by themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.errors import EnginescopeError
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.steps import RecordedEngine, ScheduledSteps

OPEN = 0  # in place of a number of streams: requests come and go by themselves
LOOK_S = 0.5
STEADY_STEPS = 100  # that are behind the engine before it is measured
FULL_SHARE = (
    1 / 3
)  # of the steps, that have all streams: one that has just been answered is not there for a step or two
BUSY_SHARE = 0.8  # of the time
PAUSE = 3.0  # usual times from step to step, above which the engine was idle
AGREEING, ARRIVALS = 6, 5  # looks in a row, and new requests in them, by which streams are known
LOOKS = 20  # after which it is decided anyway


@dataclass(frozen=True)
class SeenLook:
    """What a look saw: streams, or `OPEN`; and in how many steps requests were new."""

    streams: int
    arrivals: int


def find_load(recorder: BlockRecorder, asked: int | None, patience_s: float) -> int:
    """Wait until the engine is under a load, and give its number of streams: `asked`, or what is seen where that is
    None; `OPEN` where requests come and go.

    EnginescopeError where there is no such load in time, or several cores step each by itself.
    """
    looks: list[SeenLook] = []
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        look = recorder.block(LOOK_S)
        engine = recorder.recorded()
        if len(engine.cores()) > 1:
            raise EnginescopeError("the engine has several cores: each has steps of its own, which is not measured")
        if not engine.cores():
            continue
        if asked is not None and _steps_behind(engine, asked) >= STEADY_STEPS:
            return asked
        steps = engine.scheduled(look.begin_ns, look.end_ns)
        looks += [seen_in(steps, look.end_ns - look.begin_ns)] if len(steps.requests) else []
        if asked is None and (streams := settled(looks)) is not None:
            return streams
    decoded = "was under no load" if not asked else f"did not decode {asked} streams at a time"
    raise EnginescopeError(f"the engine {decoded} within {patience_s:.0f} s")


def settled(looks: Sequence[SeenLook]) -> int | None:
    """What the last looks agree on; None while that is not known.

    | looks                                            | settled |
    | ------------------------------------------------ | ------- |
    | six of 8 streams, with five new requests in them | 8       |
    | twenty, the last six of 8 streams                | 8       |
    | twenty, the last of 8, 7, 8, 8, 9 and 8 streams  | `OPEN`  |
    """
    last = looks[-AGREEING:]
    enough = sum(look.arrivals for look in last) >= ARRIVALS or len(looks) >= LOOKS
    if len(last) == AGREEING and enough and len({look.streams for look in last}) == 1 and last[0].streams != OPEN:
        return last[0].streams
    return OPEN if len(looks) >= LOOKS else None  # not before: an engine may warm up


def seen_in(steps: ScheduledSteps, length_ns: int) -> SeenLook:
    """What some steps in a time tell. Of a fixed number of streams no step has more, many have all, and one follows the
    other: nobody waits for an arrival."""
    most = int(steps.requests.max())
    full = float(np.mean(steps.requests == most))
    apart_ns = np.diff(steps.begin_ns)
    busy_ns = apart_ns[apart_ns <= PAUSE * np.median(apart_ns)].sum() if len(apart_ns) else 0
    fixed = full >= FULL_SHARE and busy_ns >= BUSY_SHARE * length_ns
    return SeenLook(most if fixed else OPEN, int(np.count_nonzero(steps.prefills)))


def _steps_behind(engine: RecordedEngine, streams: int) -> int:
    steps = engine.steps(streams)
    return int(np.count_nonzero(steps.steady)) if streams != OPEN else len(steps.number)
