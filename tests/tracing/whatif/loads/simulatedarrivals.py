"""A simulated engine under open arrivals: a step takes the same time whatever is in it, and serves all that are there.

So ITL is a step; TTFT is a step and half of another, as requests arrive at any moment of one; and latency is all steps
of a request and that half.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.tracing.whatif.loads.simulatedrecords import CORE, FRONT, KEY, SimulatedRecords
from tracing.whatif.blocks import Block, Treatment

TOKENS = 20  # of each request: so many steps


@dataclass
class SimulatedArrivals(SimulatedRecords):
    """`step_ns` of each step, and `apart_ns` between two arrivals on the mean."""

    step_ns: int
    apart_ns: int
    seed: int = 0

    def run(self, turns: Sequence[Treatment | None], block_ns: int) -> list[Block]:
        """Let a block of each treatment go by."""
        blocks = [Block(place * block_ns, (place + 1) * block_ns, turn) for place, turn in enumerate(turns)]
        draw, at, step = random.Random(self.seed), 0, 0
        number, arrival = 1, self._next(draw, 0)
        left: dict[int, int] = {}  # tokens of the requests that run
        while at < blocks[-1].end_ns:
            if not left:
                at = max(at, arrival)
            while arrival <= at:
                self.span(FRONT, "client.send_async", arrival, arrival + 1, -1, request=number)
                left[number] = TOKENS
                number, arrival = number + 1, self._next(draw, arrival)
            at = self._step(step, at, left, blocks)
            left = {request: tokens - 1 for request, tokens in left.items() if tokens > 1}
            step += 1
        return blocks

    def _next(self, draw: random.Random, before_ns: int) -> int:
        return before_ns + round(draw.expovariate(1 / self.apart_ns))

    def _step(self, step: int, at: int, running: dict[int, int], blocks: Sequence[Block]) -> int:
        place = min(at // blocks[0].end_ns, len(blocks) - 1)
        begun = at
        if treatment := blocks[place].treatment:
            begun += treatment.length_ns
            self.span(CORE, "delay", at, begun, -1, treatment.stage.code, place)
        self.schedule(step, begun, len(running), TOKENS in running.values())
        end = begun + self.step_ns
        self.message(step, end)
        self.span(FRONT, "output.process", end - 1000, end, KEY + step, len(running))
        for request in running:
            self.span(FRONT, "output.deliver", end - 500, end, KEY + step, request=request)
        return end
