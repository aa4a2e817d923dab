"""A simulated engine: a core whose thread does the host's part of a step, a device that works in order behind it, and a
front end that delivers. The records are those that a recorder would have written.

Two steps are in flight at most, so that a step takes as long as the slowest of the three, and slopes follow by
arithmetic.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.tracing.whatif.loads.simulatedrecords import CORE, FRONT, KEY, SimulatedRecords
from tracing.whatif.blocks import Block, Treatment
from tracing.whatif.stages import STAGES, spins

MS, STREAMS = 1_000_000, 8
FORWARD_NS = 100_000  # of the host's part: the call of the model


@dataclass
class SimulatedEngine(SimulatedRecords):
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

    def period_ns(self, core_delay_ns: int = 0, front_delay_ns: int = 0, device_delay_ns: int = 0) -> int:
        """The time of a step on a steady machine."""
        return max(self.host_ns + core_delay_ns, self.device_ns + device_delay_ns, self.front_ns + front_delay_ns)

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
            self.schedule(step, core, STREAMS, step in self.prefills)
            self.span(CORE, "model.forward", core + 1000, core + 1000 + FORWARD_NS, step)
            self.message(step, core)
            core += round(self.host_ns * slow)
            device = max(device, core) + self._device_delay(core, blocks)
            sampling = device + self.device_ns * 9 // 10
            self.piece(step, device, sampling)
            self.piece(step, sampling, device := device + self.device_ns)
            ends = [ends[1], device]
            front = max(front, device)
            front = self._delay(FRONT, front, blocks)
            begun, front = front, front + round(self.front_ns * slow)
            self.span(FRONT, "output.process", begun, front, KEY + step, STREAMS)
        raise AssertionError("unreachable")

    def _device_delay(self, at: int, blocks: Sequence[Block]) -> int:
        """The delay that is put into the device's queue at a moment."""
        place = at // blocks[0].end_ns
        treatment = blocks[place].treatment if place < len(blocks) else None
        if treatment is None or not treatment.stage.on_device:
            return 0
        self.device_delay(treatment.stage.code, at, treatment.length_ns, place)
        return treatment.length_ns

    def _delay(self, pid: int, at: int, blocks: Sequence[Block]) -> int:
        """When a process goes on that may be delayed at a moment."""
        place = at // blocks[0].end_ns
        treatment = blocks[place].treatment if place < len(blocks) else None
        if treatment is None or treatment.stage.on_device or (treatment.stage.role == "front end") != (pid == FRONT):
            return at
        end = at + treatment.length_ns
        self.span(pid, "delay", at, end, -1, treatment.stage.code, place)
        return at + round(treatment.length_ns * self.spin_costs) if spins(treatment.stage) else end


def treated(*treatments: Treatment) -> list[Treatment | None]:
    """Blocks of these treatments, each between blocks without."""
    return [None, *(turn for treatment in treatments for turn in (treatment, None))]


def delay(stage: str, length_ns: int) -> Treatment:
    return Treatment(STAGES[stage], length_ns)
