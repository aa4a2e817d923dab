"""The texts of one process: request ids and names, each by its number."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path

from probes.errors import EnginescopeError
from tracing.events.layout import TEXT, TEXT_ALIGNMENT, TEXT_BYTES_PER_SLOT, TEXTS_MAGIC

HEAD_BYTES = 64  # of a half, which tell whether it is still the one that was read before
PIECE_BYTES = 96 << 10  # are read at a time, and more than any text has


def read_texts(path: Path) -> tuple[dict[int, str], int]:
    """Texts by number, and how many were cut; none without a file, `EnginescopeError` where it is none of ours."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    if raw[: len(TEXTS_MAGIC)].strip(b"\0") and raw[: len(TEXTS_MAGIC)] != TEXTS_MAGIC:
        raise EnginescopeError(f"{path} holds no texts of enginescope: remove it, or name another folder")
    texts, _, cut = _entries(raw, len(TEXTS_MAGIC))
    return texts, cut


def ring_texts(path: Path, slots: int) -> dict[int, str]:
    """The texts beside a ring of so many slots, by number: those of both halves of their file."""
    half = (slots + 1) * TEXT_BYTES_PER_SLOT
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    return _entries(raw[:half], len(TEXTS_MAGIC))[0] | _entries(raw[half:], len(TEXTS_MAGIC))[0]


class GrowingTexts:
    """The texts beside a ring of so many slots, which are read on from where they ended the last time."""

    def __init__(self, path: Path, slots: int) -> None:
        size = (slots + 1) * TEXT_BYTES_PER_SLOT
        self._halves = [_Half(path, begin, size) for begin in (0, size)]

    def read(self) -> Mapping[int, str]:
        """Those that are there now, by number."""
        for half in self._halves:
            half.read()
        return ChainMap(*(half.texts for half in self._halves))


class _Half:
    """A half of the texts beside a ring, `size` bytes from `begin` on; `at` is where what was read of it ends."""

    def __init__(self, path: Path, begin: int, size: int) -> None:
        self.path, self.begin, self.size = path, begin, size
        self.at, self.head = 0, b""
        self.texts: dict[int, str] = {}

    def read(self) -> None:
        """Read what is new; all of it where the half has been turned, which its first bytes show."""
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return
        with file:
            head = os.pread(file.fileno(), HEAD_BYTES, self.begin)
            if head != self.head:
                self.head, self.at, self.texts = head, len(TEXTS_MAGIC), {}
            while raw := os.pread(file.fileno(), min(PIECE_BYTES, self.size - self.at), self.begin + self.at):
                texts, end, _ = _entries(raw)
                self.texts |= texts
                self.at += end
                if not end:
                    return


def _entries(raw: bytes, at: int = 0) -> tuple[dict[int, str], int, int]:
    """Texts by number, where they end, and whether one is cut there."""
    texts: dict[int, str] = {}
    while at + TEXT.size <= len(raw):
        number, length = TEXT.unpack_from(raw, at)
        end = at + TEXT.size + length
        if not number or end > len(raw):
            return texts, at, int(length > 0)
        texts[number] = raw[at + TEXT.size : end].decode(errors="replace")
        at = end + -length % TEXT_ALIGNMENT
    return texts, at, int(bool(raw[at:].strip(b"\0")))
