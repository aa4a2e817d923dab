"""The adapter to transformers' tokenizers: a model's own, read from its folder or the hub's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from probes.errors import EnginescopeError
from probes.memory.footprint import model_folder


class ModelTokenizer:
    """Text and conversations as a model's token ids."""

    def __init__(self, model: str) -> None:
        from transformers import AutoTokenizer

        folder = model_folder(model)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder or model)
        except (OSError, ValueError) as error:
            words = " ".join(str(error).split())[:200]
            raise EnginescopeError(f"{model} has no tokenizer that can be read: {words}") from None

    def ids(self, text: str) -> list[int]:
        """The ids of a text, with the control tokens that the model puts around it."""
        ids: list[int] = self._tokenizer.encode(text)
        return ids

    def chat_ids(self, messages: Sequence[object]) -> list[int]:
        """The ids of a conversation by the model's chat template, ready for an answer; ValueError where it has none."""
        template = self._tokenizer.apply_chat_template
        try:
            ids: list[int] = template(list(messages), add_generation_prompt=True, tokenize=True, return_dict=False)
        except Exception as error:  # whatever a template raises
            raise ValueError(f"the chat template does not take it: {' '.join(str(error).split())[:200]}") from None
        return ids

    def answer_tokens(self, text: str) -> int:
        """The number of tokens of an answer, without control tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))


def tokenizer_digest(model: str) -> str:
    """What tells a tokenizer from another: a digest of its file, or the model's name where it has none here."""
    folder = model_folder(model)
    file = folder / "tokenizer.json" if folder else None
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file and file.is_file() else model
