"""The texts of one process: request ids and names, each by its number."""

from __future__ import annotations

from pathlib import Path

from probes.errors import EnginescopeError
from tracing.events.layout import TEXT, TEXT_ALIGNMENT, TEXT_BYTES_PER_SLOT, TEXTS_MAGIC


def read_texts(path: Path) -> tuple[dict[int, str], int]:
    """Texts by number, and how many were cut; none without a file, `EnginescopeError` where it is none of ours."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    if raw[: len(TEXTS_MAGIC)].strip(b"\0") and raw[: len(TEXTS_MAGIC)] != TEXTS_MAGIC:
        raise EnginescopeError(f"{path} holds no texts of enginescope: remove it, or name another folder")
    return _entries(raw)


def ring_texts(path: Path, slots: int) -> dict[int, str]:
    """The texts beside a ring of so many slots, by number: those of both halves of their file."""
    half = (slots + 1) * TEXT_BYTES_PER_SLOT
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    return _entries(raw[:half])[0] | _entries(raw[half:])[0]


def _entries(raw: bytes) -> tuple[dict[int, str], int]:
    at = len(TEXTS_MAGIC)
    texts: dict[int, str] = {}
    while at + TEXT.size <= len(raw):
        number, length = TEXT.unpack_from(raw, at)
        at += TEXT.size
        if not number or at + length > len(raw):
            return texts, int(length > 0)
        texts[number] = raw[at : at + length].decode(errors="replace")
        at += -(-length // TEXT_ALIGNMENT) * TEXT_ALIGNMENT
    return texts, int(bool(raw[at:].strip(b"\0")))
