"""A run's folder on disk: written so that a kill at any instant loses at most the trial in flight.

`run.json` says what was asked and where; `records.jsonl` is append-only, one line a trial; tables are made from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path

from offline.records.continuation import locked
from offline.records.lines import Record, line_of, record_of
from offline.records.run import FORMAT, RunRecord, read_run, run_json
from probes.errors import EnginescopeError, usage_error

REPORTS = "reports"  # of the results folder: what a run's report is, and its charts


class RunFolder:
    """One run, locked against a second writer. Make it with `create` or `resume`; close it at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "logs").mkdir(exist_ok=True)
        self._lock = locked(path, "sweep")
        self._drop_torn_line()
        self._read_bytes = self._read_lines = 0  # what `new_records` has had
        self._records = os.open(path / "records.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)

    @staticmethod
    def create(out: Path, run: RunRecord) -> RunFolder:
        """A new folder `out/model/variant/id` with its `run.json`."""
        folder = RunFolder(new_folder(out, run.model, run.variant, run.id))
        folder.write_run(run)
        return folder

    def read_run(self) -> RunRecord:
        """What `run.json` holds now."""
        return read_run(self.path)

    def write_run(self, run: RunRecord) -> None:
        """Replace `run.json` whole."""
        write_whole(self.path / "run.json", run_json(run))

    def append(self, record: Record) -> None:
        """Add one line to the records and have it on disk; a write that fails half-way is taken back."""
        line = (json.dumps(line_of(record), separators=(",", ":")) + "\n").encode()
        size = os.fstat(self._records).st_size
        # Ctrl-C waits until the line is whole: a trial that was measured is never half on disk.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            while line:
                line = line[os.write(self._records, line) :]
            os.fsync(self._records)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._records, size)
            raise EnginescopeError(
                f"cannot write the records of {self.path}: {error.strerror}; free some room, then run again with "
                f"--resume {self.path}"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def records(self) -> list[Record]:
        """All whole records, in order."""
        return read_records(self.path)

    def new_records(self) -> list[Record]:
        """Those since the last call: all of them at the first one."""
        lines = _whole_lines(self.path / "records.jsonl", self._read_bytes)
        first = self._read_lines + 1
        self._read_bytes += sum(len(line) + 1 for line in lines)
        self._read_lines += len(lines)
        return [_record(self.path / "records.jsonl", number, line) for number, line in enumerate(lines, first)]

    def log(self, name: str) -> Path:
        """The file that an arm's processes print to."""
        return self.path / "logs" / f"{name}.log"

    def trace(self, engine: int) -> Path:
        """The trace folder of an engine start."""
        return self.path / "trace" / f"engine-{engine}"

    def close(self) -> None:
        """Let another writer have the folder."""
        os.close(self._records)
        self._lock.close()

    def _drop_torn_line(self) -> None:
        path = self.path / "records.jsonl"
        if not path.exists():
            return
        with path.open("r+b") as file:
            data = file.read()
            file.truncate(data.rfind(b"\n") + 1)


def read_records(path: Path) -> list[Record]:
    """The whole lines of a run's `records.jsonl`; a torn last line is left out."""
    file = path / "records.jsonl"
    return [_record(file, number, line) for number, line in enumerate(_whole_lines(file), 1)]


def _whole_lines(path: Path, start: int = 0) -> list[bytes]:
    """The lines from byte `start` on, without a torn last one; none where there is no file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(start)
        return file.read().split(b"\n")[:-1]


def _record(file: Path, number: int, line: bytes) -> Record:
    try:
        return record_of(json.loads(line))
    except (ValueError, AttributeError, TypeError) as error:
        raise EnginescopeError(
            f"{file}, line {number} is damaged: {error}; remove it to measure that trial again"
        ) from error


def newest_unfinished(out: Path, variant: str) -> Path:
    """The run that `--resume` without a name means: the last one that did not complete."""
    if path := FORMAT.newest_unfinished(out, slug(variant)):
        return path
    raise usage_error(f"no unfinished run under {out} (variant {variant}); start one without --resume")


def new_folder(out: Path, model: str, variant: str, identity: str) -> Path:
    """A new folder `out/model/variant/id`, which every command's runs have."""
    path = out / slug(model) / slug(variant) / identity
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise EnginescopeError(f"cannot write to {out}: {error.strerror}; name another folder with --out") from error
    return path


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file's content at once: a reader sees the old one or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise EnginescopeError(
            f"cannot write {path}: {error.strerror}; no trial is lost: free some room, then continue with --resume"
        ) from error


def slug(name: str) -> str:
    """A model or variant name as one folder name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
