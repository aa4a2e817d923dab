"""What the checks share: the server, a request, what was observed, and what an answer must hold."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from probes.metrics.endpoint import Endpoint
from probes.serve.client import Response, ask, stream

PROMPT = "The capital of France is"
TOKENS = 32


class CheckFailed(Exception):
    """What a check found wrong."""


class NotApplicable(Exception):
    """Why a check does not apply to this model, or cannot tell."""


@dataclass(frozen=True)
class Served:
    """The server to check: the model's name there, and its longest request in tokens.

    `alone`: nobody else asks it, so that all that it counts is of the checks. The `key` is shown nowhere.
    """

    at: Endpoint
    model: str
    max_len: int
    alone: bool = True
    key: str | None = field(default=None, repr=False)

    def ask(self, path: str, body: object = None) -> Response:
        """A whole answer."""
        return ask(self.at, path, body, key=self.key)

    def stream(self, path: str, body: object) -> Generator[tuple[float, str], None, None]:
        """The events of a stream as they come."""
        return stream(self.at, path, body, key=self.key)


@dataclass(frozen=True)
class Observation:
    """What a check that passed observed."""

    summary: str
    prompt: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Completion:
    """The answer to a prompt or a question, as OpenAI's API has it."""

    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int


def completion(served: Served, **more: object) -> dict[str, object]:
    """The body of a request that continues the prompt."""
    return {"model": served.model, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0} | more


def expect(holds: bool, words: str) -> None:
    """Raise `CheckFailed` with these words unless it holds."""
    if not holds:
        raise CheckFailed(words)


def ok(answer: Response) -> Response:
    """The answer, which must be a 200."""
    expect(answer.status == 200, f"{answer.status}: {error(answer.body)}")
    return answer


def completed(answer: Response) -> Completion:
    """The completion in an answer; `KeyError`, `IndexError` or `TypeError` where it has another form."""
    body = ok(answer).body
    choice, usage = body["choices"][0], body["usage"]
    text = choice["text"] if "text" in choice else _message_text(choice["message"])
    return Completion(text, choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"])


def _message_text(message: Mapping[str, object]) -> str:
    """What a chat's message says; a model that reasons may have had tokens for its reasoning only."""
    return str(message["content"] or message.get("reasoning") or message.get("reasoning_content") or "")


def error(body: object) -> str:
    """The message of an error's body, in one short line."""
    content = body.get("error", body) if isinstance(body, dict) else body
    return " ".join(str(content.get("message", content) if isinstance(content, dict) else content).split())[:200]


def some(text: str) -> str:
    """The text, which must not be empty."""
    expect(bool(text.strip()), "an empty text came")
    return text
