"""What is asked of a running server: a check is a function that returns its observation or raises what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from probes.errors import EnginescopeError
from probes.serve.checks.expectations import (
    PROMPT,
    TOKENS,
    CheckFailed,
    Completion,
    NotApplicable,
    Observation,
    Served,
    completed,
    completion,
    error,
    expect,
    ok,
    some,
)
from probes.serve.checks.streams import cancelled, metrics, streaming
from probes.serve.client import NoAnswer, Response

QUESTION = "What is the capital of France?"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Check:
    """One check's outcome (`passed`, `failed` or `skipped`) and the seconds it took."""

    name: str
    outcome: str
    took_s: float
    summary: str
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
            observation, outcome = function(served), PASSED
        except NotApplicable as reason:
            observation, outcome = Observation(str(reason)), SKIPPED
        except (CheckFailed, NoAnswer, EnginescopeError) as reason:
            observation, outcome = Observation(str(reason)), FAILED
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as reason:
            form = f"the answer has another form than OpenAI's: {type(reason).__name__} {reason}"
            observation, outcome = Observation(form), FAILED
        yield Check(name, outcome, time.monotonic() - began, **asdict(observation))


# --- whole answers ---


def health(served: Served) -> Observation:
    """It says that it is well."""
    return Observation(f"{ok(served.ask('/health')).status}")


def models(served: Served) -> Observation:
    """The model is listed, with the length asked for."""
    listed = {each["id"]: each for each in ok(served.ask("/v1/models")).body["data"]}
    expect(served.model in listed, f"lists {', '.join(listed) or 'no model'}, not {served.model}")
    length = listed[served.model].get("max_model_len")
    expect(length in (None, served.max_len), f"max_model_len is {length}, asked for {served.max_len}")
    return Observation(f"{served.model}, max_model_len {length}")


def completions(served: Served) -> Observation:
    """A prompt is continued, and its tokens are counted."""
    answer = completed(served.ask("/v1/completions", completion(served)))
    return Observation(_token_counts(answer), PROMPT, some(answer.text))


def chat(served: Served) -> Observation:
    """A question is answered, through the model's chat template."""
    messages = [{"role": "user", "content": QUESTION}]
    request = {"model": served.model, "max_tokens": TOKENS, "temperature": 0, "messages": messages}
    response = served.ask("/v1/chat/completions", request)
    if response.status == 400 and "chat template" in str(response.body):
        raise NotApplicable("the model has no chat template")
    answer = completed(response)
    return Observation(_token_counts(answer), QUESTION, some(answer.text))


def tokenize(served: Served) -> Observation:
    """It counts a prompt's tokens as a completion does."""
    body = ok(served.ask("/tokenize", {"model": served.model, "prompt": PROMPT})).body
    used = completed(served.ask("/v1/completions", completion(served, max_tokens=1))).prompt_tokens
    expect(len(body["tokens"]) == body["count"] == used, f"counts {body['count']}, a completion {used}")
    return Observation(f"{body['count']} tokens, as many as a completion counts", PROMPT, str(body["tokens"]))


def wrong_model(served: Served) -> Observation:
    """A model that it does not have is the client's error."""
    return _refused(served.ask("/v1/completions", completion(served, model="enginescope-no-such-model")))


def malformed(served: Served) -> Observation:
    """So is a body that is no JSON."""
    return _refused(served.ask("/v1/completions", b'{"model": "' + served.model.encode() + b'", "prompt": '))


CHECKS: tuple[tuple[str, Callable[[Served], Observation]], ...] = (
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


def _refused(answer: Response) -> Observation:
    expect(400 <= answer.status < 500, f"{answer.status} where a 4xx is due: {error(answer.body)}")
    return Observation(f"{answer.status}: {error(answer.body)}")


def _token_counts(answer: Completion) -> str:
    """The tokens of an answer, which must be some and no more than asked for."""
    prompt, output = answer.prompt_tokens, answer.completion_tokens
    expect(prompt > 0 and 0 < output <= TOKENS, f"asked for {TOKENS} tokens at most, it counts {prompt} + {output}")
    return f"{prompt} + {output} tokens, finish_reason {answer.finish_reason}"
