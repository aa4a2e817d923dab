"""Which load an engine is under: a fixed number of streams, or requests that come and go by themselves."""

from __future__ import annotations

import time

import numpy as np

from probes.errors import EnginescopeError
from tracing.whatif.blocks import Block, cut
from tracing.whatif.recording import BlockRecorder
from tracing.whatif.steps import RecordedEngine

OPEN = 0  # in place of a number of streams: requests come and go by themselves
LOOK_S = 0.5
STEADY_STEPS = 100  # that are behind the engine before it is measured
STEADY_SHARE = 0.5  # of the time, in which a fixed number of streams decodes alone
AGREEING, OPEN_LOOKS = 3, 12  # looks in a row, and looks without them, after which it is known


def find_load(recorder: BlockRecorder, asked: int | None, patience_s: float) -> int:
    """Wait until the engine is under a load, and give its number of streams: `asked`, or what is seen where that is
    None; `OPEN` where requests come and go.

    EnginescopeError where there is no such load in time, or several cores step each by itself.
    """
    seen: list[int] = []
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        look = recorder.block(LOOK_S)
        engine = recorder.recorded()
        if len(engine.cores()) > 1:
            raise EnginescopeError("the engine has several cores: each has steps of its own, which is not measured")
        if engine.cores():
            seen += [] if (number := streams_in(look, engine)) is None else [number]
            if asked is None and (found := settled(seen)) is not None:
                return found
            if asked is not None and _steps_behind(engine, asked) >= STEADY_STEPS:
                return asked
    decoded = "was under no load" if not asked else f"did not decode {asked} streams at a time"
    raise EnginescopeError(f"the engine {decoded} within {patience_s:.0f} s")


def settled(seen: list[int]) -> int | None:
    """What looks one after the other agree on; None while that is not known.

    | looks                        | settled |
    | ---------------------------- | ------- |
    | 0, 8, 8                      | None    |
    | 0, 8, 8, 8                   | 8       |
    | twelve of 0, 3, 0, 2 and so on | 0     |
    """
    last = seen[-AGREEING:]
    if len(last) == AGREEING and len({*last}) == 1 and last[0] != OPEN:
        return last[0]
    return OPEN if len(seen) >= OPEN_LOOKS else None


def streams_in(look: Block, engine: RecordedEngine) -> int | None:
    """The number of streams that decode alone for most of a look; `OPEN` where there is none, None without a step."""
    number = engine.usual_streams(look.begin_ns, look.end_ns)
    if not number:
        return None
    begins, ends = cut(look, engine.steps(number), float("inf")).windows
    return number if np.sum(ends - begins) > STEADY_SHARE * (look.end_ns - look.begin_ns) else OPEN


def _steps_behind(engine: RecordedEngine, streams: int) -> int:
    steps = engine.steps(streams)
    return int(np.count_nonzero(steps.steady)) if streams != OPEN else len(steps.number)
