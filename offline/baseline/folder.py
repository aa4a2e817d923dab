"""The folder of a comparison: what was asked, on which machine, and the raw lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offline.records.runfolder import new_folder, write_whole
from offline.records.runformat import RunFormat
from offline.spec.model import ModelMark
from offline.spec.settings import EngineSettings
from probes.errors import usage_error
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
    settings: dict[str, EngineSettings]  # of each side, without the model's path
    began: str
    state: str = "running"
    reason: str | None = None


FORMAT = RunFormat(BaselineRun, SCHEMA, KIND)


def create(out: Path, run: BaselineRun) -> Path:
    """A new folder `out/model/baseline/id`."""
    path = new_folder(out, run.model, KIND, run.id)
    (path / "logs").mkdir()
    write_run(path, run)
    return path


def write_run(path: Path, run: BaselineRun) -> None:
    """Replace `run.json` whole."""
    write_whole(path / "run.json", FORMAT.text(run))


def read_baseline_run(path: Path) -> BaselineRun:
    """The run of a folder; refused where it has none, or one of another kind or schema."""
    return FORMAT.read(path)


def newest_unfinished(out: Path) -> Path:
    """The run that `--resume` without a name means: the last one that did not complete."""
    if path := FORMAT.newest_unfinished(out, KIND):
        return path
    raise usage_error(f"no unfinished run under {out}; start one without --resume")
