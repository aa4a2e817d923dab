"""`trace.json`: what was recorded, on which machine, and how the recording ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError
from probes.jsonform import known_fields, read_record
from probes.machine import Machine

FILE = "trace.json"
SCHEMA = 1
RUNNING, ENDED = "running", "ended"


@dataclass(frozen=True)
class TraceRecord:
    """One recording. One that is `running` did not end: its recorder still runs, or was killed."""

    command: str
    nvtx: bool  # ranges were made
    nsys: bool  # Nsight Systems captured it
    py_spy: int  # samples a second, 0 for none
    started: float  # seconds since 1970
    machine: Machine
    state: str = RUNNING
    exit_code: int | None = None
    problems: tuple[str, ...] = ()


def write_trace(folder: Path, trace: TraceRecord) -> None:
    """Write `trace.json`, whole or not at all; `EnginescopeError` where there is no room for it."""
    draft = folder / f"{FILE}.draft"
    try:
        draft.write_text(json.dumps({"schema": SCHEMA, **asdict(trace)}, indent=1))
        draft.replace(folder / FILE)
    except OSError as error:
        raise EnginescopeError(f"cannot write {folder / FILE}: {error.strerror}; name another with --out") from None


def read_trace(folder: Path) -> TraceRecord | None:
    """The recording of a folder; None where the recorder was killed before it wrote one.

    `EnginescopeError` for a damaged file and for one of another schema.
    """
    file = folder / FILE
    try:
        values: dict[str, Any] = json.loads(file.read_text())
        schema = values.pop("schema", None)
        if schema == SCHEMA:
            return read_record(TraceRecord, known_fields(TraceRecord, values))  # earlier ones said what a span cost
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise EnginescopeError(f"{file} is damaged: {error}") from None
    raise EnginescopeError(f"{file} is of schema {schema}, this version reads {SCHEMA}: record it again")
