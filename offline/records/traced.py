"""The line of `records.jsonl` of a trial under the recorder: untimed, it says where a cell's time goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from probes.columns import column
from tracing.breakdown.requests.windowtimes import WindowTimes


@dataclass(frozen=True)
class TracedRecord:
    """One recorded trial of a cell in one start; it is in no figure of the table."""

    kind: ClassVar[str] = "traced"
    arm: str = field(metadata=column("id of its arm"))
    cell: str = field(metadata=column("id of its cell"))
    start: int = field(metadata=column("number of the pass, of which each starts an arm once"))
    engine: int = field(metadata=column("engine start that ran it"))
    group: int = field(metadata=column("number of the set of engines that were alive together or ran in one pass"))
    seed: int = field(metadata=column("seed of its prompts"))
    start_ns: int = field(metadata=column("the batch is handed over", "ns"))
    end_ns: int = field(metadata=column("all of it is back", "ns"))
    folder: str = field(metadata=column("the trace folder in the run's folder, for python -m tracing.review"))
    times: WindowTimes = field(metadata=column("where the time of its requests and steps went"))

    @property
    def elapsed_s(self) -> float:
        """Time of the batch, under the recorder."""
        return (self.end_ns - self.start_ns) / 1e9
