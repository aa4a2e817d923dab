"""Workloads by name or file: profiles, items, and real files of prompts, which are tokenized once and cached.

The output length is that of the file's own answer (ShareGPT, Alpaca), or its `max_tokens`, or what the caller says.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from offline.workload.items import Item
from offline.workload.profile import BUILT_IN, SAMPLING, read_profile
from offline.workload.source import HEAD, WorkloadSource, read_items, write_items
from offline.workload.tokenizer import ModelTokenizer, tokenizer_digest
from probes.checkpoint import cache_folder
from probes.errors import usage_error
from probes.prompts.files import FaultyEntry, Prompt, examined
from probes.prompts.layouts import Content

VERSION = 2  # of what is cached
OUTPUT_TOKENS = 64  # where a file names no length
SHOWN = 3  # reasons that are shown of broken records
LIMITS = ("max_tokens", "max_completion_tokens")


class TextTokenizer(Protocol):
    """What turns text into token ids."""

    def ids(self, text: str) -> list[int]: ...

    def chat_ids(self, messages: list[object]) -> list[int]: ...

    def answer_tokens(self, text: str) -> int: ...


@dataclass(frozen=True)
class ReadFile:
    """A file's items, and what of it is none: by reason, the entries that are broken or ask nothing."""

    items: tuple[Item, ...]
    broken: Mapping[str, int]
    without_length: int  # items whose file says nothing of an output


def read_workload(name: str, model: str, output_tokens: int = OUTPUT_TOKENS) -> WorkloadSource:
    """A workload for a model.

    `name` is a built-in profile, a mix profile (a JSON object with `parts`), a file of items, or one of prompts in any
    layout of `probes.prompts`.
    """
    path = Path(name).expanduser()
    if name in BUILT_IN or (path.suffix == ".json" and _first_object(path, whole=True).keys() >= {"parts"}):
        profile = read_profile(name)
        return WorkloadSource(profile.name, profile.synthetic, profile.source, profile)
    if not path.is_file():
        raise usage_error(f"workload {name}: no such file, and not one of {', '.join(BUILT_IN)}")
    if path.suffix == ".jsonl" and HEAD in _first_object(path):
        return read_items(path)
    return cached_prompts(path, lambda: ModelTokenizer(model), tokenizer_digest(model), output_tokens)


def _first_object(path: Path, whole: bool = False) -> dict[str, Any]:
    """The JSON object that a file is, or begins with; empty where it does not."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            is_object = file.read(4096).lstrip().startswith("{")  # an array may be large, and is no profile
            file.seek(0)
            value = json.loads((file.read() if whole else file.readline()) if is_object else "[]")
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_prompts(path: Path, tokenizer: TextTokenizer, output_tokens: int) -> ReadFile:
    """Tokenize a file; `output_tokens` is the length for entries that name none. One without any item is refused."""
    items, broken, without_length = [], Counter[str](), 0
    for entry in examined(path):
        if not isinstance(entry, Prompt):
            broken[entry.reason if isinstance(entry, FaultyEntry) else "asks nothing"] += 1
            continue
        try:
            tokens = _output_tokens(entry.content, tokenizer)
            items.append(_item(entry.content, tokenizer, tokens or output_tokens))
            without_length += tokens is None
        except ValueError as error:
            broken[str(error)] += 1
    if not items:
        reason = next(iter(broken), "it is empty")
        raise usage_error(f"{path} holds no prompt: {reason}")
    return ReadFile(tuple(items), broken, without_length)


def _item(content: Content, tokenizer: TextTokenizer, output_tokens: int) -> Item:
    sampling = {name: content.parameters[name] for name in SAMPLING if name in content.parameters}
    numbers = {name: value for name, value in sampling.items() if isinstance(value, (int, float))}
    ids = _ids(content, tokenizer)
    return Item(len(ids), output_tokens, sampling=numbers, prompt_token_ids=tuple(ids))


def _ids(content: Content, tokenizer: TextTokenizer) -> list[int]:
    if content.messages is not None:
        return tokenizer.chat_ids(content.messages)
    ids = tokenizer.ids(content.text) if isinstance(content.text, str) else content.text
    if not ids:
        raise ValueError("its text yields no tokens")
    return ids


def _output_tokens(content: Content, tokenizer: TextTokenizer) -> int | None:
    """The output length that an entry tells; None where it tells none."""
    if content.answer is not None:
        tokens = tokenizer.answer_tokens(content.answer)
        if not tokens:
            raise ValueError("its answer is empty")
        return tokens
    limit = next((content.parameters[name] for name in LIMITS if name in content.parameters), None)
    if limit is None:
        return None
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"max_tokens must be a whole number from 1 on, not {limit!r}")
    return limit


def remarks(file: ReadFile) -> list[str]:
    """What of a file was left out or assumed, a sentence each."""
    count, lines = sum(file.broken.values()), []
    if count:
        reasons = sorted(file.broken.items(), key=lambda reason: -reason[1])
        shown = "; ".join(f"{number} times {reason}" for reason, number in reasons[:SHOWN])
        more = f"; and {len(reasons) - SHOWN} other reasons" if len(reasons) > SHOWN else ""
        lines.append(f"{count} of {count + len(file.items)} entries left out: {shown}{more}")
    if file.without_length:
        lines.append(f"{file.without_length} entries name no output length: it is assumed")
    return lines


def cached_prompts(
    path: Path, tokenizer: Callable[[], TextTokenizer], digest: str, output_tokens: int
) -> WorkloadSource:
    """A file as a workload, tokenized once for each tokenizer."""
    kept = cache_folder() / "workloads" / f"{_digest(path, digest, output_tokens)}.jsonl"
    if kept.is_file():
        return read_items(kept)
    file = read_prompts(path, tokenizer(), output_tokens)
    origin, left_out = f"{len(file.items)} entries of {path.name}", tuple(remarks(file))
    source = WorkloadSource(path.stem, False, origin, None, file.items, digest, left_out)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_items(kept, source)
    return source


def _digest(path: Path, tokenizer: str, output_tokens: int) -> str:
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise usage_error(f"cannot read {path}: {error.strerror}") from None
    return hashlib.sha256(f"{VERSION}/{content}/{path.suffix}/{tokenizer}/{output_tokens}".encode()).hexdigest()[:24]
