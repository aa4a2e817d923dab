"""The texts beside a ring, read while they grow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.tracing.traces import text_entry
from tracing.events.layout import TEXT_BYTES_PER_SLOT, TEXTS_MAGIC
from tracing.events.texts import GrowingTexts, ring_texts

SLOTS = 63
HALF = (SLOTS + 1) * TEXT_BYTES_PER_SLOT


def half(*texts: str, first: int = 1) -> bytes:
    """Texts, numbered from the first on, as they stand in a half of the file."""
    entries = [text_entry((text, number)) for number, text in enumerate(texts, first)]
    return (TEXTS_MAGIC + b"".join(entries)).ljust(HALF, b"\0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events-2.texts"
    path.write_bytes(half() * 2)
    return path


def put(path: Path, content: bytes, begin: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(content)


def read(texts: GrowingTexts, path: Path) -> Mapping[int, str]:
    """What is there, which is also what who reads all of it at once gets."""
    now = texts.read()
    assert dict(now) == ring_texts(path, SLOTS)
    return now


def test_a_text_that_comes_later_is_read_then(path: Path) -> None:
    texts = GrowingTexts(path, SLOTS)
    assert dict(read(texts, path)) == {}
    put(path, half("a", "a longer one, of two words and some more"))
    assert read(texts, path)[2].startswith("a longer")
    put(path, half("a", "a longer one, of two words and some more", "later"))
    put(path, half("in the other half", first=4), HALF)
    assert [read(texts, path)[number] for number in (1, 3, 4)] == ["a", "later", "in the other half"]


def test_what_was_read_is_not_read_again(path: Path) -> None:
    put(path, half("of so many characters that they fill the first bytes of the half", "b"))
    texts = GrowingTexts(path, SLOTS)
    texts.read()
    path.write_bytes(path.read_bytes().replace(b"b\0", b"x\0"))
    assert texts.read()[2] == "b"


def test_a_half_that_was_turned_is_read_anew(path: Path) -> None:
    put(path, half(*(f"request {number}" for number in range(12))))
    texts = GrowingTexts(path, SLOTS)
    assert len(read(texts, path)) == 12
    put(path, half("request 100", first=100))
    assert dict(read(texts, path)) == {100: "request 100"}


def test_a_process_without_texts_has_none(tmp_path: Path) -> None:
    assert dict(GrowingTexts(tmp_path / "events-2.texts", SLOTS).read()) == {}
