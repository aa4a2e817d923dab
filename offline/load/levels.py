"""The levels of a start that is up: one at a time, a rate, a trial of a search, each from its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offline.load.budget import TRIAL_DRAIN_S
from offline.load.folder import append_rate
from offline.load.planning.schedule import level_name
from offline.load.planning.spec import LoadSpec
from offline.load.records import MeasuredRate, VariantStart
from offline.variants.started import StartedVariant
from probes.jsonform import read_record

SLACK_S = 120.0  # for a level, beyond its duration and its drain
UNIT = "requests/s"


@dataclass
class Levels:
    """Measures one level after the other; `tell` hears of each what begins, `note` what it gave."""

    start: VariantStart
    live: StartedVariant
    path: Path
    spec: LoadSpec
    tell: Callable[[str], None]
    note: Callable[[MeasuredRate], None]

    def measure(self, rate: float | None, schedule: Path, trial_s: float | None = None) -> MeasuredRate:
        """The sender replays a schedule, the variant writes what becomes of it; a search's trial takes `trial_s`."""
        duration_s, drain_s = self.spec.duration_s, self.spec.drain_s
        if trial_s is not None:
            duration_s, drain_s = trial_s, TRIAL_DRAIN_S
        start, engine, sender, scratch = self.start, self.live.engine, self.live.sender, self.live.engine.child.scratch
        assert scratch is not None
        self.tell(f"{start.variant}, start {start.start}: {level_name(rate, UNIT)}")
        link = {"schedule": str(schedule), "socket": str(scratch / "sender")}
        name = {"folder": str(self.path), "variant": start.variant, "start": start.start}
        engine.send({"do": "rate", "drain_s": drain_s} | name | link)
        sender.send({"do": "send"} | link)
        level = read_record(MeasuredRate, engine.receive(duration_s + drain_s + SLACK_S))
        sender.receive(SLACK_S)
        append_rate(self.path, level)
        self.note(level)
        return level
