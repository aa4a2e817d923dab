"""The prompts of a batch, read line by line in constant memory.

A text file holds one prompt a line. A `.jsonl` file holds one object a line: `prompt` or `messages`, an `id` if it has
one, and any parameter of the request (`max_tokens`, `temperature`, …), which goes before the batch's own.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError, usage_error

CHAT = "chat"
COMPLETION = "completion"
JSON_LINES = (".jsonl", ".ndjson")
LARGEST_LINE_BYTES = 64 * 2**20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One line of the input: its number from 1, a checksum of its bytes, its name, and its part of the request."""

    line: int
    crc32: int
    id: str
    request: dict[str, Any]


def count(path: Path, mode: str) -> int:
    """How many prompts there are; a line that cannot be sent is refused before anything is."""
    found = sum(1 for _ in read(path, mode))
    if not found:
        raise usage_error(f"{path} holds no prompt")
    return found


def read(path: Path, mode: str) -> Iterator[Prompt]:
    """The prompts in order; blank lines are left out."""
    parse = _json if path.suffix.lower() in JSON_LINES else _text
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(_lines(file, path), 1):
                line = (raw.removeprefix(BOM) if number == 1 else raw).strip(b"\r\n")
                if not line.strip():
                    continue
                try:
                    name, request = parse(line, mode)
                except ValueError as error:
                    raise usage_error(f"{path}, line {number}: {error}") from None
                yield Prompt(number, zlib.crc32(line), str(number) if name is None else name, request)
    except OSError as error:
        raise usage_error(f"cannot read {path}: {error.strerror}") from None


def _lines(file: Any, path: Path) -> Iterator[bytes]:
    while line := file.readline(LARGEST_LINE_BYTES + 1):
        if len(line) > LARGEST_LINE_BYTES:
            raise EnginescopeError(f"{path} has a line of more than {LARGEST_LINE_BYTES >> 20} MiB: no prompt")
        yield line


def _text(line: bytes, mode: str) -> tuple[str | None, dict[str, Any]]:
    return None, _asked(line.decode(), mode)


def _json(line: bytes, mode: str) -> tuple[str | None, dict[str, Any]]:
    given = json.loads(line)
    if not isinstance(given, dict):
        raise ValueError('not an object; a line looks like {"prompt": "…", "max_tokens": 16}')
    name, prompt = given.pop("id", None), given.pop("prompt", None)
    if (prompt is None) == ("messages" not in given):
        raise ValueError("needs `prompt` or `messages`, one of them")
    if "messages" in given and (mode != CHAT or not isinstance(given["messages"], list)):
        raise ValueError("`messages` is a list, for --mode chat")
    if "stream" in given or given.get("n", 1) != 1:
        raise ValueError("`stream` is for the whole batch (--stream), and `n` must be 1")
    asked = _asked(prompt, mode) if prompt is not None else {}
    return None if name is None else str(name), {**asked, **given}


def _asked(prompt: Any, mode: str) -> dict[str, Any]:
    """The prompt as the server wants it: text, or for completions token ids too."""
    ids = isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt)
    if not isinstance(prompt, str) and not (ids and mode == COMPLETION):
        raise ValueError("`prompt` must be text, or for --mode completion a list of token ids")
    return {"messages": [{"role": "user", "content": prompt}]} if mode == CHAT else {"prompt": prompt}
