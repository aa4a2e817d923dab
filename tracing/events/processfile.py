"""`process-<pid>.json`: what a process said of itself, beside its events and its texts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError
from probes.jsonform import known_fields, read_record
from tracing.events.layout import SCHEMA, UNTIMED
from tracing.events.schemaone import SCHEMA_ONE
from tracing.sites.site import Site

READ = (SCHEMA_ONE, SCHEMA)
KNOWN = " and ".join(map(str, READ))


@dataclass(frozen=True)
class ClockAnchor:
    """The wall clock at a moment of CLOCK_MONOTONIC, and by how much that may be off, in nanoseconds."""

    monotonic_ns: int
    wall_ns: int
    uncertainty_ns: int

    @property
    def ahead_ns(self) -> int:
        """What to add to CLOCK_MONOTONIC for the wall clock."""
        return self.wall_ns - self.monotonic_ns


@dataclass(frozen=True)
class RecordedSite:
    """A site as the process that recorded it knew it; spans have its place in that process's table."""

    name: str
    stage: str
    role: str
    share: str

    @classmethod
    def of(cls, site: Site) -> RecordedSite:
        return cls(site.name, site.stage, site.role, site.share)


@dataclass(frozen=True)
class ProcessRecord:
    """What a process said of itself, and below that what its reader found out. Times are ns of CLOCK_MONOTONIC.

    `serves` are its roles, `sites` what the numbers in its spans mean, `threads` names by the operating system's
    numbers, `modes` vLLM's version and what was on, `device` what it launches on, timed or not. Its records are whole
    from `first_ns` on (0: always).
    """

    pid: int
    parent: int = 0
    serves: tuple[str, ...] = ()
    sites: tuple[RecordedSite, ...] = ()
    threads: dict[int, str] = field(default_factory=dict)
    hooked: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    machine_id: str = ""  # '' where it could not be read, as of the boot
    boot_id: str = ""
    anchor: ClockAnchor | None = None
    created_ns: int | None = None  # None: not told
    started_ns: int = 0
    stopped_ns: int | None = 0  # None: it was killed, or still runs; 0: not told
    first_ns: int = 0
    dropped: int = 0
    device: str | None = None
    error: str | None = None

    is_lost: bool = False  # its file is: this is what its spans show
    clock_uncertainty_ns: int | None = None  # of one on another machine than the front end

    @property
    def times_device(self) -> bool:
        """Whether it has a device, and knows when that works."""
        return bool(self.device) and not any(each.startswith(UNTIMED) for each in self.missing)


def pid_of(path: Path) -> int:
    """The process that a file of a trace folder is about, by its name."""
    return int(path.stem.partition("-")[2])


def beside(path: Path) -> Path:
    """The process file beside any file of that process."""
    return path.with_name(f"process-{pid_of(path)}.json")


def read(path: Path) -> ProcessRecord | None:
    """What the process of a file said of itself; None where that cannot be read, `EnginescopeError` where it is of
    another schema."""
    try:
        values: dict[str, Any] = json.loads(beside(path).read_text())
        if (schema := values.get("schema", SCHEMA)) in READ:
            return _record(values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    raise EnginescopeError(f"{path} has a process file of schema {schema}, this reader knows {KNOWN}")


def copy(path: Path, folder: Path, **more: int) -> None:
    """Copy the process file beside a file into a folder, with `more` in it; nothing where it cannot be read."""
    if read(path) is not None:
        values: dict[str, Any] = json.loads(beside(path).read_text())
        (folder / beside(path).name).write_text(json.dumps(values | more))


def _record(values: dict[str, Any]) -> ProcessRecord:  # `Any`: what JSON holds
    """What another version says besides is left out."""
    known = known_fields(ProcessRecord, values)
    sites = [known_fields(RecordedSite, site) for site in values["sites"]]
    # A thread that had not begun to run yet has no number: `None`.
    threads = {int(number): name for number, name in values["threads"].items() if number.isdigit()}
    return read_record(ProcessRecord, {**known, "serves": [*values["serves"]], "sites": sites, "threads": threads})
