"""The ground truth of the pretend device: two files a process beside the trace, a line a step in each.

The device knows exactly when it worked and when it was idle, which on a real one has to be measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO, TypeVar

from probes.errors import EnginescopeError
from probes.jsonform import read_record

Row = TypeVar("Row", "StepTruth", "DeviceWait")


@dataclass(frozen=True)
class StepTruth:
    """A step on the device (`device-steps-<pid>.jsonl`); times in ns of CLOCK_MONOTONIC.

    `step` is the core's number, -1 where the core did not schedule it: of a dummy batch too.
    """

    step: int
    kind: str  # prefill, mixed, decode or dummy
    tokens: int
    launch_ns: int  # when the forward pass was given to the device
    begin_ns: int  # when the device began with it
    end_ns: int  # when the sampling ended; of a dummy batch, the forward pass
    busy_ns: int  # of the time from begin to end; in the rest it waited for the launch of the sampling
    idle_before_ns: int  # since the end of the step before; -1 for the first


@dataclass(frozen=True)
class DeviceWait:
    """A wait for the device (`device-waits-<pid>.jsonl`), from the call to the moment that was waited for.

    `step` is the one whose event it was. The call returns a little later, when the system has woken its thread.
    """

    step: int
    begin_ns: int
    end_ns: int


class TruthFiles:
    """Written by the process whose device it is, one whole line at a time."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._files: dict[type, TextIO] = {
            kind: (folder / f"{name}-{pid}.jsonl").open("a", buffering=1) for kind, name in NAMES.items()
        }

    def write(self, row: StepTruth | DeviceWait) -> None:
        """Append a row to the file of its kind."""
        self._files[type(row)].write(json.dumps(asdict(row)) + "\n")


NAMES: dict[type, str] = {StepTruth: "device-steps", DeviceWait: "device-waits"}


def read_truth(folder: Path, kind: type[Row]) -> dict[int, list[Row]]:
    """The rows of this kind by process id, as they were written; `EnginescopeError` where one cannot be read."""
    truth = {}
    for path in sorted(folder.glob(f"{NAMES[kind]}-*.jsonl")):
        try:
            rows = [read_record(kind, json.loads(line)) for line in path.read_text().splitlines()]
        except (OSError, ValueError) as error:
            raise EnginescopeError(f"cannot read {path}: {error}; record the shape again") from None
        truth[int(path.stem.rpartition("-")[2])] = rows
    return truth
