"""A simulated engine: a core whose thread does the host's part of a step, a device that works in order behind it, and a
front end that delivers. The records are those that a recorder would have written.

Two steps are in flight at most, so that a step takes as long as the slowest of the three, and slopes follow by
arithmetic.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tracing.events.layout import COUNTS, LIST, MESSAGE, MORE, RECORD, SPAN
from tracing.sites.engine import CODES
from tracing.whatif.blocks import Block, Treatment
from tracing.whatif.stages import STAGES, spins
from tracing.whatif.steps import RecordedEngine

CORE, FRONT = 1, 2  # process ids
MS, STREAMS = 1_000_000, 8
KEY = 1_000_000  # of the first step's message
FORWARD_NS = 100_000  # of the host's part: the call of the model


@dataclass
class SimulatedEngine:
    """Times of a step's parts in ns. A delay that spins costs `spin_costs` times itself. `unsteady` is the spread of
    the machine's speed, from block to block and from step to step; with `stalls` a step of it stalls now and then."""

    host_ns: int
    device_ns: int
    front_ns: int
    unsteady: float = 0.0
    seed: int = 0
    stalls: bool = True
    spin_costs: float = 1.0
    prefills: frozenset[int] = frozenset()  # steps
    rows: dict[int, list[tuple[int, ...]]] = field(default_factory=lambda: {CORE: [], FRONT: []})

    def period_ns(self, core_delay_ns: int = 0, front_delay_ns: int = 0) -> int:
        """The time of a step on a steady machine."""
        return max(self.host_ns + core_delay_ns, self.device_ns, self.front_ns + front_delay_ns)

    def run(self, turns: Sequence[Treatment | None], block_ns: int) -> list[Block]:
        """Let a block of each treatment go by."""
        blocks = [Block(place * block_ns, (place + 1) * block_ns, turn) for place, turn in enumerate(turns)]
        draw, speed = random.Random(self.seed), 1.0
        core = device = front = 0
        ends = [0, 0]  # of the two steps before, on the device
        for step in range(10**9):
            core = max(core, ends[0])
            if core >= blocks[-1].end_ns:
                return blocks
            if step % 20 == 0:
                speed = draw.lognormvariate(0, self.unsteady)
            slow = (
                speed
                * draw.lognormvariate(0, self.unsteady)
                * (30 if self.stalls and draw.random() < self.unsteady / 100 else 1)
            )
            core = self._delay(CORE, core, blocks)
            self._schedule(step, core)
            core += round(self.host_ns * slow)
            device = max(device, core) + self.device_ns
            ends = [ends[1], device]
            front = max(front, device)
            front = self._delay(FRONT, front, blocks)
            begun, front = front, front + round(self.front_ns * slow)
            self._write(FRONT, SPAN, "output.process", begun, front, KEY + step, STREAMS)
        raise AssertionError("unreachable")

    def recorded(self) -> RecordedEngine:
        """What was recorded."""
        return RecordedEngine({pid: np.array(rows, dtype=RECORD) for pid, rows in self.rows.items()})

    def _delay(self, pid: int, at: int, blocks: Sequence[Block]) -> int:
        """When a process goes on that may be delayed at a moment."""
        place = at // blocks[0].end_ns
        treatment = blocks[place].treatment if place < len(blocks) else None
        if treatment is None or (treatment.stage.role == "front end") != (pid == FRONT):
            return at
        end = at + treatment.length_ns
        self._write(pid, SPAN, "delay", at, end, -1, treatment.stage.code, place)
        return at + round(treatment.length_ns * self.spin_costs) if spins(treatment.stage) else end

    def _schedule(self, step: int, at: int) -> None:
        self._write(CORE, SPAN, "scheduler.schedule", at, at + 1000, step, STREAMS, STREAMS)
        self.rows[CORE].append((at, 0, step, 10, CORE, 0, 0, COUNTS, LIST))
        self.rows[CORE].append((int(step in self.prefills), 0, 0, 0, 0, 0, 0, 0, MORE))
        self._write(CORE, SPAN, "model.forward", at + 1000, at + 1000 + FORWARD_NS, step)
        self.rows[CORE].append((at, KEY + step, step, 2, CORE, 0, 0, MESSAGE, LIST))

    def _write(
        self, pid: int, kind: int, site: str, start: int, end: int, step: int, value: int = 0, extra: int = 0
    ) -> None:
        self.rows[pid].append((start, end, step, value, pid, 0, extra, CODES[site], kind))


def treated(*treatments: Treatment) -> list[Treatment | None]:
    """Blocks of these treatments, each between blocks without."""
    return [None, *(turn for treatment in treatments for turn in (treatment, None))]


def delay(stage: str, length_ns: int) -> Treatment:
    return Treatment(STAGES[stage], length_ns)
