"""Lets blocks go by on a standing engine: turns its delays on and off, and takes the records out of its rings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.errors import EnginescopeError
from tracing.attach.engine import StandingEngine
from tracing.attach.ring import Ring, new_rings
from tracing.whatif.blocks import Block, Treatment
from tracing.whatif.engine.delayfile import DelayFile
from tracing.whatif.steps import EngineRecords, RecordedEngine

RENEWAL_S = 0.5


@dataclass
class BlockRecorder:
    """What an engine wrote while blocks went by; `lives` says whether it still runs."""

    engine: StandingEngine
    delays: DelayFile
    lives: Callable[[], bool]
    rings: dict[int, Ring] = field(default_factory=dict)
    records: EngineRecords = field(default_factory=EngineRecords)
    count: int = 0  # of blocks

    def block(self, length_s: float, treatment: Treatment | None = None, calls_per_step: float = 1.0) -> Block:
        """Let a block go by, and take what was recorded meanwhile; EnginescopeError where the engine ends."""
        self.count += 1
        if treatment:
            length_ns = round(treatment.length_ns / calls_per_step)
            self.delays.put(treatment.stage.site, treatment.stage.kind, length_ns, self.count, treatment.stage.pid)
        begin_ns = time.monotonic_ns()
        end = time.monotonic() + length_s
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, RENEWAL_S))
            self.delays.renew()
        end_ns = time.monotonic_ns()
        self.delays.clear()
        self._take()
        return Block(begin_ns, end_ns, treatment)

    def recorded(self) -> RecordedEngine:
        """All of it so far."""
        return RecordedEngine(self.records.whole())

    def _take(self) -> None:
        if not self.lives():
            raise EnginescopeError("the engine ended while it was measured")
        for ring in new_rings(self.engine.folder, self.rings):
            self.rings[ring.pid] = ring
        for pid, ring in self.rings.items():
            self.records.add(pid, ring.take())
