"""A standing folder: where a recorder that is always there keeps the rings of an engine, and the switch that all its
processes look at.

It lies in memory (`/dev/shm`, else the folder for temporary files) and belongs to one user alone. Beside the files of
a trace folder it holds `standing.json`, the fields of `Standing`; `switch`: a byte that is not 0 while nothing is
recorded, seven that are 0, and until when it may be recorded, in nanoseconds of CLOCK_MONOTONIC (0: without end); and
`delays` (`tracing.events.delays`).
"""

from __future__ import annotations

import json
import os
import re
import struct
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

SCHEMA = 1
FILE, SWITCH = "standing.json", "switch"
SWITCH_BYTES = struct.Struct("<B7xq")
RECORDING, PAUSED = 0, 1
MEMORY = Path("/dev/shm")
MIB = 1 << 20
STANDBY_BYTES = 16 * MIB  # of each process while it is looked at; what reads does so several times a second
BYTES_PER_SECOND = MIB  # of each process: 20,000 records a second, twice what steps of 3 ms were seen to write
MOST_BYTES = 4096 * MIB
SIZE = re.compile(r"(\d+)\s*(s|MiB)?", re.IGNORECASE)


@dataclass(frozen=True)
class Standing:
    """How an engine is watched: `ring_bytes` of each process, `standby` where nothing is recorded until it is asked
    for, and the process that made the folder."""

    ring_bytes: int
    standby: bool
    pid: int
    title: str

    def write(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps({"schema": SCHEMA} | asdict(self)))


def read(folder: Path) -> Standing | None:
    """What a folder says; None where it is no standing folder, or one of another schema."""
    try:
        values = json.loads((folder / FILE).read_text())
        if values.pop("schema") != SCHEMA:
            return None
        return Standing(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def ring_bytes(text: str) -> int:
    """The bytes of a ring given as `60s` or `64MiB`; ValueError where it is neither."""
    match = SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is not a ring size, such as 60s or 64MiB")
    size = int(match[1]) * (BYTES_PER_SECOND if (match[2] or "").lower() == "s" else MIB)
    if size > MOST_BYTES:
        raise ValueError(f"{text!r} is more than {MOST_BYTES // MIB} MiB in each process")
    return size


def rooms() -> tuple[Path, Path]:
    """Where the standing folders of this user are: in memory, or with the temporary files where that is too small."""
    in_memory, on_disk = (base / f"enginescope-{os.getuid()}" for base in (MEMORY, Path(tempfile.gettempdir())))
    return in_memory, on_disk
