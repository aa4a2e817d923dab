"""The texts of one process: request ids and names, each by its number."""

from __future__ import annotations

from pathlib import Path

from probes.errors import EnginescopeError
from tracing.events.layout import TEXT, TEXT_ALIGNMENT, TEXTS_MAGIC


def read_texts(path: Path) -> tuple[dict[int, str], int]:
    """Texts by number, and how many were cut; none without a file, `EnginescopeError` where it is none of ours."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}, 0
    at = len(TEXTS_MAGIC)
    if raw[:at].strip(b"\0") and raw[:at] != TEXTS_MAGIC:
        raise EnginescopeError(f"{path} holds no texts of enginescope: remove it, or name another folder")
    texts: dict[int, str] = {}
    while at + TEXT.size <= len(raw):
        number, length = TEXT.unpack_from(raw, at)
        at += TEXT.size
        if not number or at + length > len(raw):
            return texts, int(length > 0)
        texts[number] = raw[at : at + length].decode(errors="replace")
        at += -(-length // TEXT_ALIGNMENT) * TEXT_ALIGNMENT
    return texts, int(any(raw[at:]))
