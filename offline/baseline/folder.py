"""The folder of a comparison: what was asked, on which machine, and the raw lines."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offline.records.runfolder import slug, write_whole
from offline.spec.model import ModelMark
from probes.errors import EnginescopeError, usage_error
from probes.jsonform import read_record
from probes.machine import Machine

SCHEMA = 2  # 2: the model's place and mark, without which a run cannot be continued; 1: the first
KIND = "baseline"
LINES = "records.jsonl"


@dataclass(frozen=True)
class BaselineRun:
    """`run.json`. `state` is running, complete, incomplete or interrupted."""

    id: str
    command_line: str
    model: str  # a short name
    model_path: str  # a folder, the home written as `~`
    model_mark: ModelMark
    machine: Machine
    batches: tuple[int, ...]
    input_len: int
    output_len: int
    rounds: int
    starts: int
    seed: int
    settings: dict[str, dict[str, Any]]  # of each side, without the model's path
    began: str
    state: str = "running"
    reason: str | None = None


def create(out: Path, run: BaselineRun) -> Path:
    """A new folder `out/model/baseline/id`."""
    path = out / slug(run.model) / KIND / run.id
    try:
        (path / "logs").mkdir(parents=True)
    except OSError as error:
        raise EnginescopeError(f"cannot write to {out}: {error.strerror}; name another folder with --out") from None
    write_run(path, run)
    return path


def write_run(path: Path, run: BaselineRun) -> None:
    """Replace `run.json` whole."""
    values = {"schema": SCHEMA, "kind": KIND, **asdict(run)}
    write_whole(path / "run.json", json.dumps(values, indent=1) + "\n")


def read_baseline_run(path: Path) -> BaselineRun:
    """The run of a folder; refused where it has none, or one of another kind or schema."""
    file = path / "run.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text())
        schema, kind = values.pop("schema", None), values.pop("kind", None)
        if kind != KIND:
            raise usage_error(f"{path} is not a run of offline.baseline")
        if schema == SCHEMA:
            return read_record(BaselineRun, values)
    except OSError:
        raise usage_error(f"{path} is not a run: it has no run.json") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise EnginescopeError(f"{file} is damaged: {error}") from error
    raise EnginescopeError(f"{path} has schema {schema}, this version reads {SCHEMA}: start a new run")


def newest_unfinished(out: Path) -> Path:
    """The run that `--resume` without a name means: the last one that did not complete."""
    for file in sorted(out.glob(f"*/{KIND}/*/run.json"), key=lambda file: file.parent.name, reverse=True):
        with contextlib.suppress(EnginescopeError):
            if read_baseline_run(file.parent).state != "complete":
                return file.parent
    raise usage_error(f"no unfinished run under {out}; start one without --resume")
