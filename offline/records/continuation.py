"""A run that is continued: locked against a second writer, and refused where it would not be the same run."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from offline.spec.model import ModelMark, mark
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
    model: Path | str = Path(model_path).expanduser() if model_path.startswith(("/", "~")) else model_path
    if isinstance(model, Path) and not (model / "config.json").is_file():
        raise EnginescopeError(f"{path} cannot be resumed: its model {model} is gone")
    other = [*differences(machine.as_dict(), fingerprint(engine_platform()).as_dict())]
    if mark(model) != model_mark:
        other.append(f"the model was {model_mark}, is {mark(model)}")
    if other:
        raise EnginescopeError(f"{path} cannot be resumed, it would not be the same run: {'; '.join(map(str, other))}")
    return model
