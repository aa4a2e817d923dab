"""Requests that come and go by themselves: throughput is what arrives, and TTFT, ITL and latency tell what a delay did.

A block's first part is left out, in which what the one before it left behind is served. A request belongs to the block
in which it was sent, if so early that requests usually end within it, whenever it ended itself: none is left out for
being slow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.errors import EnginescopeError
from probes.statistics.intervals import Estimate
from tracing.timeline.intervals import Ints
from tracing.whatif.blocks import Block, Treatment, achieved, usual_length
from tracing.whatif.loads.deliveries import DeliveryTimes, delivery_times
from tracing.whatif.loads.seenload import OPEN
from tracing.whatif.openanswer import OpenAnswer, OpenStageAnswer
from tracing.whatif.plan import LEAST_BLOCK_S, MeasurementPlan, least_turns, plan
from tracing.whatif.slopes import BlockPair, sized_slope, stage_slope
from tracing.whatif.stages import DelayedStage
from tracing.whatif.steps import RecordedEngine

SHARES = (0.1, 0.2, 0.4)  # of a step: what arrives has to be served in spite of it
LEFT_OUT = 0.25  # of a block, at its begin
USUALLY = 0.9  # of the requests
LATENCIES, ARRIVALS = 3.0, 5  # that a block is long, as far as there is time
NARROW = 0.5  # an interval that tells something

Means = tuple[float | None, float | None, float | None]  # TTFT, ITL and latency of a block, in ns


@dataclass(frozen=True)
class OpenLoad:
    """Requests from elsewhere."""

    def plan(
        self, stages: Sequence[DelayedStage], look: Block, engine: RecordedEngine, budget_s: float
    ) -> MeasurementPlan:
        """What fits into a time; blocks are so long that some requests begin and end in them, if there is time."""
        times = delivery_times(engine)
        if not len(times.gap_end_ns):
            raise EnginescopeError("no request was seen to be delivered token by token: only AsyncLLM and servers do")
        longest_s = budget_s / (2 * least_turns(len(stages)))
        latencies_s = LATENCIES * usual_ns(times.last_ns - times.sent_ns) / 1e9
        arrivals_s = ARRIVALS * float(np.ptp(times.sent_ns)) / len(times.sent_ns) / 1e9 if len(times.sent_ns) else 0.0
        block_s = max(LEAST_BLOCK_S, min(max(latencies_s, arrivals_s), longest_s))
        return plan(stages, step_ns([look], engine), budget_s, SHARES, block_s)

    def lacking(self, blocks: Sequence[Block], engine: RecordedEngine, done: MeasurementPlan) -> MeasurementPlan:
        """What is to be run again, as ITL was not seen in too many of its blocks."""
        outcomes = outcome_pairs(blocks, engine, delivery_times(engine))
        return done.lacking({treatment: len(itl) for treatment, (_, itl, _) in outcomes.items()})

    def answer(
        self, blocks: Sequence[Block], engine: RecordedEngine, done: MeasurementPlan, calls: dict[str, float]
    ) -> OpenAnswer:
        """What the blocks tell."""
        times = delivery_times(engine)
        outcomes = outcome_pairs(blocks, engine, times)
        idle = [block for block in blocks if block.treatment is None]
        windows = (np.array([block.begin_ns for block in idle]), np.array([block.end_ns for block in idle]))
        delivered_ns = engine.steps(OPEN).delivered_ns
        count = sum(_between(delivered_ns, block.begin_ns, block.end_ns) for block in idle)
        answers = []
        for stage in done.stages:
            sizes = [size for treatment, size in outcomes.items() if treatment.stage == stage]
            effects = [_effect([size[place] for size in sizes], len(done.treatments)) for place in range(3)]
            time_ns = engine.time_ns(stage, windows) / max(count, 1)
            answers.append(OpenStageAnswer(stage.name, time_ns, calls[stage.name], *effects))
        span_ns = blocks[-1].end_ns - blocks[0].begin_ns
        sent = _between(times.sent_ns, blocks[0].begin_ns, blocks[-1].end_ns)
        itls = [stage.itl for stage in answers if stage.itl]
        return OpenAnswer(
            step_ns(idle, engine), sent / span_ns * 1e9, tuple(answers), done.left_out, wide(itls, done.seconds)
        )


def wide(effects: Sequence[Estimate], seconds: float) -> str:
    """How long it takes until no interval is too wide to tell something, in a sentence; '' where none is."""
    widths = [each.high - each.low for each in effects if each.low is not None and each.high is not None]
    if max(widths, default=0.0) <= NARROW:
        return ""
    longer_s = 100 * math.ceil(seconds * (max(widths) / NARROW) ** 2 / 100)
    remedy = f"--budget {longer_s} or fewer --stages make it about {NARROW}"
    return f"the widest interval of ITL spans {max(widths):.1f}: {remedy}"


def step_ns(blocks: Sequence[Block], engine: RecordedEngine) -> float:
    """The usual time from one delivery to that of the next step in some blocks; EnginescopeError without one."""
    steps = engine.steps(OPEN)
    apart_ns = [np.zeros(0, dtype=np.int64)]
    for block in blocks:
        inside = (steps.delivered_ns >= block.begin_ns) & (steps.delivered_ns < block.end_ns)
        apart_ns.append(np.diff(steps.delivered_ns[inside])[np.diff(steps.number[inside]) == 1])
    if not (every := np.concatenate(apart_ns)).size:
        raise EnginescopeError("the engine was idle while it was looked at: no step followed another")
    return float(np.median(every))


def usual_ns(lengths_ns: Ints) -> float:
    """What most requests stay below; 0 without one."""
    return float(np.quantile(lengths_ns, USUALLY)) if len(lengths_ns) else 0.0


def outcome_pairs(
    blocks: Sequence[Block], engine: RecordedEngine, times: DeliveryTimes
) -> dict[Treatment, tuple[list[BlockPair], ...]]:
    """By treatment the pairs of each outcome: the block with the delay against those around it."""
    guards = (usual_ns(times.first_ns - times.sent_ns), usual_ns(times.last_ns - times.sent_ns))
    every = [means(block, times, guards) for block in blocks]
    delivered_ns = engine.steps(OPEN).delivered_ns
    outcomes: dict[Treatment, tuple[list[BlockPair], ...]] = {b.treatment: ([], [], []) for b in blocks if b.treatment}
    for place, block in enumerate(blocks):
        steps = _between(delivered_ns, _begin_ns(block), block.end_ns)
        if block.treatment is None or not steps:
            continue
        window = (np.array([_begin_ns(block)]), np.array([block.end_ns]))
        delay_ns = achieved(block.treatment.stage, window, engine) / steps
        for outcome, pairs in enumerate(outcomes[block.treatment]):
            before, during, after = (every[near][outcome] for near in (place - 1, place, place + 1))
            if delay_ns and before is not None and during is not None and after is not None:
                pairs.append(BlockPair(during - (before + after) / 2, delay_ns))
    return outcomes


def means(block: Block, times: DeliveryTimes, guards_ns: tuple[float, float]) -> Means:
    """The outcomes of a block; None where nothing tells one. `guards_ns`: how long TTFT and latency usually are."""
    begin_ns = _begin_ns(block)
    first, whole = ((times.sent_ns >= begin_ns) & (times.sent_ns + guard_ns <= block.end_ns) for guard_ns in guards_ns)
    gaps = (times.gap_begin_ns >= begin_ns) & (times.gap_end_ns <= block.end_ns)
    return (
        _mean((times.first_ns - times.sent_ns)[first]),
        usual_length((times.gap_end_ns - times.gap_begin_ns)[gaps]) if gaps.any() else None,
        _mean((times.last_ns - times.sent_ns)[whole]),
    )


def _begin_ns(block: Block) -> int:
    return block.begin_ns + round(LEFT_OUT * (block.end_ns - block.begin_ns))


def _mean(lengths_ns: Ints) -> float | None:
    return float(lengths_ns.mean()) if len(lengths_ns) else None


def _between(times_ns: Ints, begin_ns: int, end_ns: int) -> int:
    """How many of some moments lie in a time."""
    return int(np.count_nonzero((times_ns >= begin_ns) & (times_ns < end_ns)))


def _effect(sizes: Sequence[list[BlockPair]], intervals: int) -> Estimate | None:
    """The slope of an outcome over its sizes; None where none has a pair."""
    sized = [sized_slope(pairs, intervals) for pairs in sizes if pairs]
    return stage_slope(sized).slope if sized else None
