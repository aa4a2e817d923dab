"""What is asked of a server that answers: a check is a function that returns what it saw or raises what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from probes.errors import EnginescopeError
from probes.serve.client import Answer, NoAnswer, ask
from probes.serve.streams import cancelled, metrics, streaming
from probes.serve.visit import PROMPT, TOKENS, NotAsked, Seen, Served, Wrong, completion, error, expect, ok, some

QUESTION = "What is the capital of France?"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Check:
    """One check's outcome (`passed`, `failed` or `skipped`) and the seconds it took."""

    name: str
    outcome: str
    took_s: float
    said: str
    prompt: str | None = None
    output: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it found something wrong."""
        return self.outcome == FAILED


def run_checks(served: Served) -> Iterator[Check]:
    """Every check in turn; a failed one does not stop the next."""
    for name, function in CHECKS:
        began = time.monotonic()
        try:
            seen, outcome = function(served), PASSED
        except NotAsked as reason:
            seen, outcome = Seen(str(reason)), SKIPPED
        except (Wrong, NoAnswer, EnginescopeError) as reason:
            seen, outcome = Seen(str(reason)), FAILED
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as reason:
            seen, outcome = Seen(f"the answer has another form than OpenAI's: {type(reason).__name__} {reason}"), FAILED
        yield Check(name, outcome, time.monotonic() - began, seen.said, seen.prompt, seen.output)


# --- whole answers ---


def health(served: Served) -> Seen:
    """It says that it is well."""
    return Seen(f"{ok(ask(served.port, '/health')).status}")


def models(served: Served) -> Seen:
    """The model is listed, with the length asked for."""
    listed = {each["id"]: each for each in ok(ask(served.port, "/v1/models")).body["data"]}
    expect(served.model in listed, f"lists {', '.join(listed) or 'no model'}, not {served.model}")
    length = listed[served.model].get("max_model_len")
    expect(length in (None, served.max_len), f"max_model_len is {length}, asked for {served.max_len}")
    return Seen(f"{served.model}, max_model_len {length}")


def completions(served: Served) -> Seen:
    """A prompt is continued, and its tokens are counted."""
    body = ok(ask(served.port, "/v1/completions", completion(served))).body
    return Seen(_counted(body), PROMPT, some(body["choices"][0]["text"]))


def chat(served: Served) -> Seen:
    """A question is answered, through the model's chat template."""
    body = {"model": served.model, "max_tokens": TOKENS, "temperature": 0}
    body["messages"] = [{"role": "user", "content": QUESTION}]
    answer = ask(served.port, "/v1/chat/completions", body)
    if answer.status == 400 and "chat template" in str(answer.body):
        raise NotAsked("the model has no chat template")
    got = ok(answer).body
    return Seen(_counted(got), QUESTION, some(got["choices"][0]["message"]["content"]))


def tokenize(served: Served) -> Seen:
    """It counts a prompt's tokens as a completion does."""
    got = ok(ask(served.port, "/tokenize", {"model": served.model, "prompt": PROMPT})).body
    used = ok(ask(served.port, "/v1/completions", completion(served, max_tokens=1))).body["usage"]["prompt_tokens"]
    expect(len(got["tokens"]) == got["count"] == used, f"counts {got['count']}, a completion {used}")
    return Seen(f"{got['count']} tokens, as many as a completion counts", PROMPT, str(got["tokens"]))


def wrong_model(served: Served) -> Seen:
    """A model that it does not have is the client's error."""
    return _refused(ask(served.port, "/v1/completions", completion(served, model="enginescope-no-such-model")))


def malformed(served: Served) -> Seen:
    """So is a body that is no JSON."""
    return _refused(ask(served.port, "/v1/completions", b'{"model": "' + served.model.encode() + b'", "prompt": '))


CHECKS: tuple[tuple[str, Callable[[Served], Seen]], ...] = (
    ("GET /health", health),
    ("GET /v1/models", models),
    ("POST /v1/completions", completions),
    ("POST /v1/chat/completions", chat),
    ("streaming", streaming),
    ("GET /metrics", metrics),
    ("POST /tokenize", tokenize),
    ("wrong model name", wrong_model),
    ("malformed body", malformed),
    ("cancelled half-way", cancelled),
)


def _refused(answer: Answer) -> Seen:
    expect(400 <= answer.status < 500, f"{answer.status} where a 4xx is due: {error(answer.body)}")
    return Seen(f"{answer.status}: {error(answer.body)}")


def _counted(body: dict[str, Any]) -> str:
    """The tokens of an answer, which must be some and no more than asked for."""
    prompt, made = body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
    expect(prompt > 0 and 0 < made <= TOKENS, f"asked for {TOKENS} tokens at most, it counts {prompt} + {made}")
    return f"{prompt} + {made} tokens, finish_reason {body['choices'][0]['finish_reason']}"
