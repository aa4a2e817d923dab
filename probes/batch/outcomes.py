"""The records of a batch on disk: one JSON line a prompt, appended as it is settled, whole or not at all.

Another batch cannot write to the same file, and `--resume` goes on behind the last whole line.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from probes.batch.record import BEGINNING, Record, parsed
from probes.errors import EnginescopeError, usage_error

SHORTEST_SECRET = 8  # characters; a shorter "key" (EMPTY, x) is no secret, and may well be a word of an answer


class Shared(NamedTuple):
    """What a batch that is resumed must have in common with its first part."""

    mode: str
    model: str
    stream: bool


class Outcomes:
    """An output file held for writing; `secret` is blanked out of whatever a server says."""

    def __init__(self, path: Path, secret: str | None) -> None:
        self.path, self._secret = path, secret if secret and len(secret) >= SHORTEST_SECRET else None
        self._held: list[int] = []
        self._file = self._hold(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)

    def _hold(self, path: Path, flags: int) -> int:
        """Open `path` and lock it; the lock lasts until `close`."""
        try:
            file = os.open(path, flags, 0o644)
        except OSError as error:
            raise usage_error(f"cannot write {path}: {error.strerror}") from None
        self._held.append(file)
        if not stat.S_ISREG(os.fstat(file).st_mode):  # /dev/full never ends, and a pipe is read once
            self.close()
            raise usage_error(f"cannot write {path}: not a regular file, and the records are read again")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise EnginescopeError(f"{path} is being written by another batch; wait for it, or name another") from None
        return file

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been written yet."""
        return os.fstat(self._file).st_size == 0

    def keep_answers(self, shared: Shared) -> Answered:
        """Keep the records of prompts that were answered; drop those that failed and a torn end: these are sent again.

        Lines of others stay where they are, and a file that holds nothing of ours is refused.
        """
        if not self.is_empty and not any(map(_is_ours, lines(self.path))):
            raise usage_error(f"{self.path} is no file of records; name another --output")
        answered, whole = Answered(self.path), True
        for line in lines(self.path):
            whole = _stays(line, answered, shared) and whole
        if not whole:
            self._rewrite(shared)
        return answered

    def _rewrite(self, shared: Shared) -> None:
        """Put a file with what stays in place of this one, at once: a kill leaves the old or the new one."""
        draft, kept = self.path.with_name(f".{self.path.name}.draft"), Answered(self.path)
        draft.unlink(missing_ok=True)
        file = self._hold(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            for line in lines(self.path):
                if _stays(line, kept, shared):
                    _write_all(file, line)
            os.fsync(file)
            os.replace(draft, self.path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._full(error) from None
        self._file = file

    def write(self, record: Record) -> Record:
        """Append a record and return it as written; one that the disk has no room for is taken back."""
        record = record.without(self._secret) if self._secret else record
        size = os.fstat(self._file).st_size
        try:
            _write_all(self._file, record.json())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise self._full(error) from None
        return record

    def _full(self, error: OSError) -> EnginescopeError:
        return EnginescopeError(
            f"cannot write {self.path}: {error.strerror}; what is there is whole; free some room, then --resume"
        )

    def close(self) -> None:
        """Have it all on disk, and let others write."""
        for file in self._held:
            with contextlib.suppress(OSError):
                os.fsync(file)
            os.close(file)
        self._held = []


@dataclass
class Answered:
    """Which lines of the input have an answer: eight bytes a line."""

    path: Path
    count: int = 0
    _crc32: array[int] = field(default_factory=lambda: array("q"))

    def add(self, record: Record) -> bool:
        """Note a record's line; whether it is the first for it."""
        line, crc32 = record.line, record.line_crc32
        if not 0 < line < 2**40:
            raise EnginescopeError(f"{self.path} has a record without a line of the input; it cannot be resumed")
        if line >= len(self._crc32):
            self._crc32.extend(-1 for _ in range(line + 1 - len(self._crc32)))
        if self._crc32[line] >= 0:
            return False
        self._crc32[line] = crc32
        self.count += 1
        return True

    def has(self, line: int, crc32: int) -> bool:
        """Whether this line of the input was answered; refused where it has another text now."""
        if line >= len(self._crc32) or self._crc32[line] < 0:
            return False
        if self._crc32[line] != crc32:
            raise EnginescopeError(
                f"line {line} of the input is not the one that {self.path} answers: the input has changed; "
                "resume with the old one, or name another --output"
            )
        return True


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file of records, their ends included; a torn last one has none."""
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise usage_error(f"cannot read {path}: {error.strerror}") from None


def _is_ours(line: bytes) -> bool:
    """Whether a line begins as a record does, as far as it goes."""
    return line.startswith(BEGINNING) or BEGINNING.startswith(line)


def _stays(line: bytes, answered: Answered, shared: Shared) -> bool:
    """Whether a line survives a resume; the answers among those that do are noted in `answered`."""
    record = parsed(line, answered.path)
    if record is None:
        return line.endswith(b"\n")
    for name in Shared._fields:
        if (before := getattr(record, name)) != (now := getattr(shared, name)):
            raise usage_error(
                f"{answered.path} was made with {name} {before!r}, not {now!r}: resume it with the same settings, or "
                "name another --output"
            )
    return record.ok and answered.add(record)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
