"""Files of prompts, read entry by entry in constant memory: text, JSON lines, JSON arrays, and tables.

| file                 | an entry is                                                              |
| -------------------- | ------------------------------------------------------------------------ |
| `.txt`, no suffix    | a line, sent as it stands                                                |
| `.jsonl`, `.ndjson`  | a line with an object, in one of the layouts of `layouts`                |
| `.json`              | an element of the array, however it is printed; else as `.jsonl`         |
| `.csv`, `.tsv`       | a row; its column `prompt`, or `instruction` and `input`, and its `id`   |
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import ijson  # type: ignore[import-untyped]

from probes.errors import EnginescopeError, usage_error
from probes.prompts.layouts import Content, content

TEXT = ("", ".txt", ".text")
JSON = (".json", ".jsonl", ".ndjson")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
LARGEST_LINE_BYTES = 64 * 2**20
BOM = b"\xef\xbb\xbf"
SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """An entry of the input: its number from 1, where that is in words, a checksum, its name, and what it asks."""

    line: int
    place: str
    crc32: int
    id: str
    content: Content


@dataclass(frozen=True, slots=True)
class FaultyEntry:
    """An entry that is no prompt, where that is, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry before it is understood: its number, where that is in words, its bytes, and its value."""

    line: int
    place: str
    data: bytes
    value: object


def read(path: Path) -> Iterator[Prompt]:
    """The prompts of `path` in order; what is broken ends it. Entries that ask nothing are left out."""
    return (prompt for prompt in entries(path) if prompt is not None)


def entries(path: Path) -> Iterator[Prompt | None]:
    """The same with None for an entry that asks nothing: no text, or a conversation without a human turn."""
    for entry in examined(path):
        if isinstance(entry, FaultyEntry):
            raise usage_error(f"{path}, {entry.place}: {entry.reason}")
        yield entry


def examined(path: Path) -> Iterator[Prompt | FaultyEntry | None]:
    """The same with a `FaultyEntry` for a line that is no JSON and for an entry without a known layout; an array or a
    table that is none still ends it."""
    for entry in _entries(path):
        if isinstance(entry, FaultyEntry):
            yield entry
            continue
        try:
            question = content(entry.value)
        except ValueError as error:
            yield FaultyEntry(entry.place, str(error))
            continue
        if question is None:
            yield None
        else:
            name = str(entry.line) if question.id is None else question.id
            yield Prompt(entry.line, entry.place, zlib.crc32(entry.data), name, question)


def _entries(path: Path) -> Iterator[_Entry | FaultyEntry]:
    suffix = path.suffix.lower()
    if suffix not in (*TEXT, *JSON, *SEPARATORS):
        known = ", ".join((*TEXT[1:], *JSON, *SEPARATORS))
        raise usage_error(f"{path}: unknown file type {suffix}; known are {known}")
    try:
        if path.exists() and not path.is_file():
            raise usage_error(f"cannot read {path}: not a regular file, and the prompts are read twice")
        if suffix in SEPARATORS:
            yield from _rows(path, SEPARATORS[suffix])
            return
        with path.open("rb") as file:
            first = _first_sign(file)
            if suffix in JSON:
                yield from _elements(file, path) if first == b"[" else _objects(file, path)
            else:
                yield from _texts(file, path)
    except OSError as error:
        raise usage_error(f"cannot read {path}: {error.strerror}") from None


def _first_sign(file: BinaryIO) -> bytes:
    """The first byte that is no space; the file stands where it did, behind a byte-order mark."""
    start = len(BOM) if file.read(len(BOM)) == BOM else 0
    file.seek(start)
    while (sign := file.read(1)) and sign in SPACE:
        pass
    file.seek(start)
    return sign


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers and without their ends."""
    number = 0
    while line := file.readline(LARGEST_LINE_BYTES + 1):
        number += 1
        if len(line) > LARGEST_LINE_BYTES:
            raise EnginescopeError(
                f"{path} has a line of more than {LARGEST_LINE_BYTES >> 20} MiB: that is not a prompt"
            )
        if line.strip():
            yield number, line.strip(b"\r\n")


def _texts(file: BinaryIO, path: Path) -> Iterator[_Entry]:
    for index, (number, line) in enumerate(_lines(file, path)):
        try:
            text = line.decode()
        except ValueError as error:
            raise usage_error(f"{path}, line {number}: {error}") from None
        if index == 0 and _is_json(text):
            raise usage_error(f"{path} holds JSON, which would be sent line by line: name it .json or .jsonl")
        yield _Entry(number, f"line {number}", line, {"prompt": text})


def _is_json(first_line: str) -> bool:
    """Whether a file that begins so is JSON: an array or object begins, or stands there whole."""
    text = first_line.strip()
    if text in ("[", "{", "[{"):
        return True
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _objects(file: BinaryIO, path: Path) -> Iterator[_Entry | FaultyEntry]:
    for number, line in _lines(file, path):
        place = f"line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield FaultyEntry(place, f"not a whole JSON object ({error}); write an array, or one object per line")
        else:
            yield _Entry(number, place, line, value)


def _elements(file: BinaryIO, path: Path) -> Iterator[_Entry]:
    number = 0
    try:
        for number, value in enumerate(ijson.items(file, "item", use_float=True), 1):
            data = json.dumps(value, sort_keys=True).encode()
            yield _Entry(number, f"entry {number}", data, value)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())[:120]
        raise usage_error(f"{path}: not a valid JSON array after entry {number}: {words}") from None


def _rows(path: Path, separator: str) -> Iterator[_Entry]:
    csv.field_size_limit(LARGEST_LINE_BYTES)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=separator, strict=True)
        number = 0
        try:
            columns = reader.fieldnames or []
            if not {"prompt", "instruction"} & set(columns):
                named = ", ".join(columns[:8]) or "none"
                raise usage_error(f"{path}: unknown layout, columns {named}; needs a column `prompt` or `instruction`")
            for number, row in enumerate(reader, 1):
                yield _row(number, row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise usage_error(f"{path}: not a valid table after row {number}: {error}") from None


def _row(number: int, row: Mapping[str | None, str | None]) -> _Entry:
    if None in row or None in row.values():
        raise csv.Error("the next row does not have as many cells as the header")
    columns = ("id", "prompt") if "prompt" in row else ("id", "instruction", "input")
    value = {name: row[name] for name in columns if name in row}
    return _Entry(number, f"row {number}", json.dumps(value).encode(), value)
