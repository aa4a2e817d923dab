"""A load run's folder on disk: what was asked, the schedules, and each start with its raw lines.

A start's lines are plain JSONL while it is open, so that a kill loses none that was written, and zstd once it has
ended.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from offline.load.planning.schedule import Schedule, write_schedule
from offline.load.planning.spec import LoadSpec
from offline.load.records import MeasuredRate, ServedRequest, StepLine, VariantStart
from offline.records.continuation import locked
from offline.records.runfolder import new_folder, slug, write_whole
from offline.records.runformat import RunFormat
from offline.spec.model import ModelMark
from offline.variants.variant import Variant
from probes.errors import EnginescopeError, usage_error
from probes.jsonform import Malformed, read_record
from probes.machine import Machine

SCHEMA = 1
KIND = "load"  # tells its `run.json` from a sweep's
LINES = ("requests", "steps")
T = TypeVar("T")


@dataclass(frozen=True)
class LoadRun:
    """`run.json`: one run. `state` is running, complete, incomplete or interrupted."""

    id: str
    command_line: str
    spec: LoadSpec
    model: str  # a short name
    model_path: str  # a folder, the home written as `~`, or a hub id
    model_mark: ModelMark
    tokenizer: str
    workload: str  # its name and where its lengths come from
    synthetic: bool
    machine: Machine
    variants: tuple[Variant, ...]  # with what all share
    estimate_s: float
    began: str
    state: str = "running"
    ended: str | None = None
    notes: tuple[str, ...] = ()


FORMAT = RunFormat(LoadRun, SCHEMA, KIND)


class LoadFolder:
    """One run, locked against a second writer; close it at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = locked(path)

    @staticmethod
    def create(out: Path, run: LoadRun, schedules: Mapping[str, Schedule]) -> LoadFolder:
        """A new folder `out/model/load/id` with its schedules, by name, and last its `run.json`."""
        path = new_folder(out, run.model, KIND, run.id)
        (path / "schedules").mkdir()
        (path / "starts").mkdir()
        folder = LoadFolder(path)
        for name, schedule in schedules.items():
            write_schedule(path / "schedules" / f"{name}.jsonl", schedule)
        folder.write_run(run)  # from now on it can be resumed
        return folder

    def write_run(self, run: LoadRun) -> None:
        """Replace `run.json` whole."""
        write_whole(self.path / "run.json", FORMAT.text(run))

    def new_start(self, variant: str) -> tuple[int, Path]:
        """The number and the folder of a further start of a variant."""
        for number in itertools.count(1):
            path = self.path / "starts" / f"{slug(variant)}-{number}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return number, path
        raise AssertionError

    def close(self) -> None:
        """Let another writer have the folder."""
        self._lock.close()


def write_start(path: Path, start: VariantStart) -> None:
    """Replace a start's `configuration.json` whole."""
    write_whole(path / "configuration.json", json.dumps({"schema": SCHEMA, **asdict(start)}, indent=1) + "\n")


def append_rate(path: Path, rate: MeasuredRate) -> None:
    """Add a rate that was measured to its end, and have it on disk."""
    try:
        with (path / "rates.jsonl").open("a") as file:
            file.write(json.dumps(asdict(rate)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise EnginescopeError(f"cannot write to {path}: {error.strerror}; free some room, then use --resume") from None


def compress(path: Path) -> None:
    """Turn a start's plain lines into zstd; the plain file goes when the other is whole."""
    for name in LINES:
        plain, draft = path / f"{name}.jsonl", path / f".{name}.jsonl.zst"
        if plain.exists():
            with pa.CompressedOutputStream(str(draft), "zstd") as file:
                file.write(plain.read_bytes())
            draft.rename(path / f"{name}.jsonl.zst")
            plain.unlink()


# --- reading ---


def read_load_run(path: Path) -> LoadRun:
    """The run of a folder; refused where it has none, or one of another kind or schema."""
    return FORMAT.read(path)


def start_folders(path: Path) -> list[Path]:
    """The folders of a run's starts that have a configuration, by variant and number."""
    folders = [file.parent for file in path.glob("starts/*/configuration.json")]
    return sorted(folders, key=lambda folder: (folder.name.rpartition("-")[0], int(folder.name.rpartition("-")[2])))


def read_starts(path: Path) -> list[VariantStart]:
    """All starts of a run, ended or not."""
    return [read_start(folder) for folder in start_folders(path)]


def read_start(folder: Path) -> VariantStart:
    """A start's configuration."""
    values = json.loads((folder / "configuration.json").read_text())
    values.pop("schema")
    return read_record(VariantStart, values)


def closed_start(folder: Path) -> VariantStart:
    """A start of an earlier command; one that was running when that was killed is over."""
    start = read_start(folder)
    if start.state == "running":
        start = replace(start, state="interrupted")
        write_start(folder, start)
    compress(folder)
    return start


def read_rates(folder: Path) -> list[MeasuredRate]:
    """The rates that a start measured to their ends."""
    return list(_read_lines(folder / "rates.jsonl", MeasuredRate))


def read_requests(folder: Path) -> Iterator[ServedRequest]:
    """The requests of a start, of unfinished rates too; a torn last line is left out."""
    return _read_lines(folder / "requests.jsonl", ServedRequest)


def read_steps(folder: Path) -> Iterator[StepLine]:
    """The engine's steps of a start, in order."""
    return _read_lines(folder / "steps.jsonl", StepLine)


def _read_lines(plain: Path, cls: type[T]) -> Iterator[T]:
    packed = plain.with_name(f"{plain.name}.zst")
    if packed.exists():
        with pa.CompressedInputStream(str(packed), "zstd") as file:
            data = file.read()
    else:
        data = plain.read_bytes() if plain.exists() else b""
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            yield read_record(cls, json.loads(line))
        except (Malformed, ValueError, AttributeError, TypeError) as error:
            raise EnginescopeError(f"{plain} has a damaged line: {error}") from error


def newest_unfinished(out: Path) -> Path:
    """The run that `--resume` without a name means: the last one that did not complete."""
    if path := FORMAT.newest_unfinished(out, KIND):
        return path
    raise usage_error(f"no unfinished run under {out}; start one without --resume")
