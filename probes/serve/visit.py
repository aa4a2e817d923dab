"""A server that is checked: what is asked of it, what was seen, and what is wrong with an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from probes.serve.client import Answer

PROMPT = "The capital of France is"
TOKENS = 32


class Wrong(Exception):
    """What a check found wrong."""


class NotAsked(Exception):
    """Why a check does not apply to this model."""


@dataclass(frozen=True)
class Served:
    """The server to check: the model's name there, and its longest request in tokens."""

    port: int
    model: str
    max_len: int


@dataclass(frozen=True)
class Seen:
    """What a check that passed saw."""

    said: str
    prompt: str | None = None
    output: str | None = None


def completion(served: Served, **more: Any) -> dict[str, Any]:
    """The body of a request that continues the prompt."""
    return {"model": served.model, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0} | more


def expect(holds: bool, words: str) -> None:
    """Raise `Wrong` with these words unless it holds."""
    if not holds:
        raise Wrong(words)


def ok(answer: Answer) -> Answer:
    """The answer, which must be a 200."""
    expect(answer.status == 200, f"{answer.status}: {error(answer.body)}")
    return answer


def error(body: Any) -> str:
    """The message of an error's body, in one short line."""
    said = body.get("error", body) if isinstance(body, dict) else body
    return " ".join(str(said.get("message", said) if isinstance(said, dict) else said).split())[:200]


def some(text: str) -> str:
    """The text, which must not be empty."""
    expect(bool(text.strip()), "an empty text came")
    return text
