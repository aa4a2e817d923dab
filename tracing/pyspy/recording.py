"""What the sampler notes beside py-spy's file (`pyspy.json`), as a record: written once, when py-spy has ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError, usage_error

SCHEMA = 1
FILE = "pyspy.json"
Live = dict[int, dict[int, int]]


@dataclass(frozen=True)
class Recording:
    """One run of py-spy over the tree of process `root`.

    `rate` is in samples a second, as asked for. `beacon`: whether a beacon ran, so that samples can be placed on
    CLOCK_MONOTONIC. `started_ns` and `ended_ns` are on that clock; `early`: py-spy ended before it was stopped.
    `live` has, by process and thread, when the thread was last seen alive. `recorder` is the folder into which a
    recorder inside the sampled processes wrote meanwhile, '' for none. `sampler` is the process that ran py-spy, which
    may be in the tree and is none of what was sampled; 0 where that was not noted.
    """

    version: str
    rate: int
    root: int
    beacon: bool
    started_ns: int
    ended_ns: int
    early: bool
    exit_code: int
    live: Live = field(default_factory=dict)
    recorder: str = ""
    sampler: int = 0

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps({"schema": SCHEMA} | asdict(self)))


def exists(folder: Path) -> bool:
    """Whether a folder holds samples."""
    return (folder / FILE).exists()


def read(folder: Path) -> Recording:
    """A folder's recording; `EnginescopeError` where there is none or it is of another schema."""
    try:
        values: dict[str, Any] = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        raise usage_error(
            f"{folder} holds no samples ({FILE}): python -m tracing.record --py-spy -- CMD makes some"
        ) from None
    if values.get("schema") != SCHEMA:
        raise EnginescopeError(
            f"{folder / FILE} is of schema {values.get('schema')}, this version reads {SCHEMA}: record again"
        )
    try:
        known = {name: values[name] for name in (each.name for each in fields(Recording)) if name in values}
        live = {int(pid): {int(thread): ns for thread, ns in of.items()} for pid, of in known.pop("live", {}).items()}
        return Recording(**known, live=live)
    except (TypeError, ValueError, AttributeError) as error:
        raise EnginescopeError(f"{folder / FILE} is not a description of samples: {error}; record again") from None
