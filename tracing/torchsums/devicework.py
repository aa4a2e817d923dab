"""The kernels and copies of torch traces, collected in a few bytes each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from tracing.breakdown.kernels.families import CODES, COPY, family_of
from tracing.breakdown.kernels.work import COLUMNS
from tracing.torchsums.trace import Event

ROW = np.dtype(list(zip(COLUMNS, ("i8", "i8", "i4", "i1", "i4", "i8", "i8"), strict=True)))


class Launch(NamedTuple):
    """Where something was launched: the number of its stage, its step, its process, and when the call began."""

    stage: int
    step: int
    pid: int
    start_ns: int


UNLAUNCHED = Launch(0, -1, 0, -1)


@dataclass
class DeviceWork:
    """Work as it comes. `cores` is the core that each process works for; a device of two files is two devices."""

    cores: Mapping[int, int]
    parts: list[np.ndarray] = field(default_factory=list)
    devices: dict[tuple[str, int], int] = field(default_factory=dict)
    families: dict[str, int] = field(default_factory=dict)  # by name, of kernels

    def add(self, file: str, events: Sequence[Event], launches: Sequence[Launch]) -> None:
        """Add kernels and copies of a file, each with its launch."""
        rows = [
            (
                event.start_ns,
                event.end_ns,
                self.devices.setdefault((file, event.pid), len(self.devices)),
                CODES[COPY] if event.kind == "copy" else self._family(event.name),
                self.cores.get(launch.pid, 0),
                launch.step,
                launch.start_ns,
            )
            for event, launch in zip(events, launches, strict=True)
        ]
        self.parts.append(np.array(rows, ROW))

    def frame(self) -> pd.DataFrame:
        """A frame of work, as `tracing.breakdown.kernels.work` describes it."""
        return pd.DataFrame(np.concatenate([np.zeros(0, ROW), *self.parts]))

    def _family(self, name: str) -> int:
        if name not in self.families:
            self.families[name] = CODES[family_of(name)]
        return self.families[name]
