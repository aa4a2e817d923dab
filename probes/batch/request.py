"""The request that a prompt becomes at an OpenAI-compatible endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from probes.errors import usage_error
from probes.prompts.files import entries
from probes.prompts.layouts import Content

CHAT = "chat"
COMPLETION = "completion"


def request(content: Content, mode: str) -> dict[str, object]:
    """The prompt's part of the request, its own parameters included; ValueError where `mode` cannot send it."""
    parameters = content.parameters
    if "stream" in parameters or parameters.get("n", 1) != 1:
        raise ValueError("`stream` is for the whole batch (--stream), and `n` must be 1")
    if content.messages is not None:
        if mode != CHAT:
            raise ValueError("`messages` is for --mode chat")
        return {"messages": content.messages, **parameters}
    if mode == COMPLETION:
        return {"prompt": content.text, **parameters}
    if not isinstance(content.text, str):
        raise ValueError("`prompt` must be text; token ids are for --mode completion")
    return {"messages": [{"role": "user", "content": content.text}], **parameters}


@dataclass(frozen=True)
class Count:
    """How many entries of a file ask something, and how many ask nothing."""

    prompts: int
    empty: int


def count(path: Path, mode: str) -> Count:
    """Count the prompts; one that cannot be sent is refused before anything is."""
    prompts = empty = 0
    for prompt in entries(path):
        if prompt is None:
            empty += 1
            continue
        prompts += 1
        try:
            request(prompt.content, mode)
        except ValueError as error:
            raise usage_error(f"{path}, {prompt.place}: {error}") from None
    if not prompts:
        raise usage_error(f"{path} holds no prompt")
    return Count(prompts, empty)
