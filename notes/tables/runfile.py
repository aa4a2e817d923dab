"""What a table needs of `run.json`, which `offline.sweep` writes; and of a machine's fingerprint, as JSON holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from notes.tables.story import TableMachine, Versions
from probes.errors import EnginescopeError

SCHEMA = 6  # that of `offline.records.run`


@dataclass(frozen=True)
class RunFile:
    """A run: its model and variant by their short names, its command, when it began, and its state."""

    model: str
    variant: str
    command_line: str
    began: str
    state: str
    machine: TableMachine
    versions: Versions


def read_run(folder: Path) -> RunFile:
    """The run of a folder; an `EnginescopeError` for another schema, `KeyError` or `ValueError` for a damaged file."""
    values: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if values["schema"] != SCHEMA:
        raise EnginescopeError(
            f"{folder} has schema {values['schema']}, this version reads {SCHEMA}: measure again "
            "(python -m offline.sweep)"
        )
    return RunFile(
        model=values["model"],
        variant=values["variant"],
        command_line=values["command_line"],
        began=values["began"],
        state=values["state"],
        machine=table_machine(values["machine"]),
        versions=versions(values["machine"]),
    )


def table_machine(fingerprint: Mapping[str, Any]) -> TableMachine:  # `Any`: what JSON holds
    """The machine of a fingerprint."""
    gpus = tuple(gpu["name"] for gpu in fingerprint.get("gpus") or [])
    return TableMachine(
        fingerprint.get("cpu_model"), fingerprint.get("cores_usable"), fingerprint.get("memory_bytes"), gpus
    )


def versions(fingerprint: Mapping[str, Any]) -> Versions:  # as above
    """The software of a fingerprint."""
    return Versions(**{field.name: fingerprint.get(field.name) for field in fields(Versions)})
