"""A run that is continued: locked against a second writer, and refused where it would not be the same run."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from offline.spec.model import ModelMark, mark
from offline.spec.models import recorded_model
from probes.engineplatform import engine_platform
from probes.errors import EnginescopeError
from probes.machine import Machine, differences, fingerprint


def locked(path: Path, writer: str = "command") -> TextIO:
    """The lock of a run's folder against another writer, held until it is closed."""
    lock = (path / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise EnginescopeError(f"{path} is being written by another {writer}; wait for it or start a new run") from None
    return lock


def same_model(path: Path, model_path: str, model_mark: ModelMark, machine: Machine) -> Path | str:
    """The model of the run in `path`, which ran on `machine`; refused, with what differs now, where it is another."""
    try:
        model = recorded_model(model_path)
    except FileNotFoundError as error:
        raise EnginescopeError(f"{path} cannot be resumed: its model {error} is gone") from None
    if other := other_conditions(machine, fingerprint(engine_platform()), model_mark, mark(model)):
        raise EnginescopeError(f"{path} cannot be resumed, it would not be the same run: {'; '.join(other)}")
    return model


def other_conditions(before: Machine, now: Machine, mark_before: ModelMark, mark_now: ModelMark) -> list[str]:
    """How machine, vLLM and model differ from those of a run on disk."""
    unlike = differences(before.as_dict(), now.as_dict())
    return unlike if mark_now == mark_before else [*unlike, f"model: {mark_before} in the run, {mark_now} now"]
