"""What is asked of a server that answers: a check is a function that returns what it saw or raises what is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from probes.endpoint import METRICS, Endpoint, look
from probes.errors import EnginescopeError
from probes.quantities import COUNTERS, GAUGES, has_any, name_in
from probes.serverclient import DONE, Answer, NoAnswer, ask, stream
from probes.servercommand import HOST

PROMPT = "The capital of France is"
QUESTION = "What is the capital of France?"
TOKENS = 32
STREAMED_SHARE = 0.2  # of the whole time lies between the first and the last chunk at least: one held back has 0
SETTLE_S = 5.0
SEEN_BEFORE_CANCEL = 4
RUNNING, WAITING = GAUGES[0], GAUGES[1]
GENERATED = next(each for each in COUNTERS if each.key == "generation_tokens")

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


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
        except (Wrong, NoAnswer, EnginescopeError) as error:
            seen, outcome = Seen(str(error)), FAILED
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            seen, outcome = Seen(f"the answer has another form than OpenAI's: {type(error).__name__} {error}"), FAILED
        yield Check(name, outcome, time.monotonic() - began, seen.said, seen.prompt, seen.output)


# --- whole answers ---


def health(served: Served) -> Seen:
    """It says that it is well."""
    return Seen(f"{_ok(ask(served.port, '/health')).status}")


def models(served: Served) -> Seen:
    """The model is listed, with the length asked for."""
    listed = {each["id"]: each for each in _ok(ask(served.port, "/v1/models")).body["data"]}
    _expect(served.model in listed, f"lists {', '.join(listed) or 'no model'}, not {served.model}")
    length = listed[served.model].get("max_model_len")
    _expect(length in (None, served.max_len), f"max_model_len is {length}, asked for {served.max_len}")
    return Seen(f"{served.model}, max_model_len {length}")


def completions(served: Served) -> Seen:
    """A prompt is continued, and its tokens are counted."""
    body = _ok(ask(served.port, "/v1/completions", _completion(served))).body
    return Seen(_counted(body), PROMPT, _text(body["choices"][0]["text"]))


def chat(served: Served) -> Seen:
    """A question is answered, through the model's chat template."""
    body = {"model": served.model, "max_tokens": TOKENS, "temperature": 0}
    body["messages"] = [{"role": "user", "content": QUESTION}]
    answer = ask(served.port, "/v1/chat/completions", body)
    if answer.status == 400 and "chat template" in str(answer.body):
        raise NotAsked("the model has no chat template")
    got = _ok(answer).body
    return Seen(_counted(got), QUESTION, _text(got["choices"][0]["message"]["content"]))


def tokenize(served: Served) -> Seen:
    """It counts a prompt's tokens as a completion does."""
    got = _ok(ask(served.port, "/tokenize", {"model": served.model, "prompt": PROMPT})).body
    used = _ok(ask(served.port, "/v1/completions", _completion(served, max_tokens=1))).body["usage"]["prompt_tokens"]
    _expect(len(got["tokens"]) == got["count"] == used, f"counts {got['count']}, a completion {used}")
    return Seen(f"{got['count']} tokens, as many as a completion counts", PROMPT, str(got["tokens"]))


def wrong_model(served: Served) -> Seen:
    """A model that it does not have is the client's error."""
    return _refused(ask(served.port, "/v1/completions", _completion(served, model="enginescope-no-such-model")))


def malformed(served: Served) -> Seen:
    """So is a body that is no JSON."""
    return _refused(ask(served.port, "/v1/completions", b'{"model": "' + served.model.encode() + b'", "prompt": '))


# --- streams and counts ---


def streaming(served: Served) -> Seen:
    """Chunks come one by one, as they are made, and `[DONE]` closes."""
    body = _completion(served, stream=True, ignore_eos=True, stream_options={"include_usage": True})
    began = time.monotonic()
    events = list(stream(served.port, "/v1/completions", body))
    _expect(bool(events), "no chunk came")
    _expect(events[-1][1] == DONE, f"ends with {events[-1][1][:60]!r}, not with {DONE}")
    chunks = [(at_s, json.loads(data)) for at_s, data in events[:-1]]
    made = [(at_s, chunk["choices"][0]) for at_s, chunk in chunks if chunk["choices"]]
    usage = chunks[-1][1].get("usage") or {}
    _expect(usage.get("completion_tokens") == TOKENS, f"asked for {TOKENS} tokens, the last chunk counts {usage}")
    _expect(len(made) > 1, f"all of it in {len(made)} chunk")
    times_s = [at_s for at_s, _ in made]
    share = (times_s[-1] - times_s[0]) / (times_s[-1] - began)
    _expect(share > STREAMED_SHARE, f"{len(made)} chunks at once: held back until {1000 * (times_s[0] - began):.0f} ms")
    gaps_s = [later - at for at, later in pairwise(times_s)]
    said = f"{len(made)} chunks, {TOKENS} tokens, then {DONE}; TTFT {1000 * (times_s[0] - began):.0f} ms, gaps "
    said += f"{1000 * median(gaps_s):.0f} ms (median) to {1000 * max(gaps_s):.0f} ms"
    return Seen(said, PROMPT, _text("".join(choice["text"] for _, choice in made)))


def metrics(served: Served) -> Seen:
    """It counts the tokens that it made."""
    at = _metrics_at(served)
    _expect(has_any(look(at)), "none of vLLM's metrics; was it started with --disable-log-stats?")
    before = _total(at, GENERATED)
    made = _ok(ask(served.port, "/v1/completions", _completion(served))).body["usage"]["completion_tokens"]
    counted = _settled(lambda: _total(at, GENERATED) - before, lambda more: more >= made)
    _expect(counted == made, f"made {made} tokens, /metrics counts {counted:g} more")
    return Seen(f"{len(look(at).samples)} metrics; made {made} tokens, counts {counted:g} more")


def cancelled(served: Served) -> Seen:
    """A request whose client hangs up half-way is ended: the running count returns to 0, with tokens left unmade."""
    at = _metrics_at(served)
    before = _total(at, GENERATED)
    asked = served.max_len - 2 * TOKENS
    _expect(asked > 4 * SEEN_BEFORE_CANCEL, "--max-len is too short to hang up half-way")
    body = _completion(served, stream=True, ignore_eos=True, max_tokens=asked)
    events = stream(served.port, "/v1/completions", body)
    for _ in range(SEEN_BEFORE_CANCEL):
        next(events, None)
    running = _settled(lambda: _total(at, RUNNING), lambda count: count >= 1)
    events.close()
    hung_up = time.monotonic()
    left = _settled(lambda: _total(at, RUNNING) + _total(at, WAITING), lambda count: count == 0)
    took_s, made = time.monotonic() - hung_up, _total(at, GENERATED) - before
    _expect(running >= 1, "it was over, or not counted as running, before it could be cancelled")
    _expect(left == 0, f"{left:g} still running or waiting {took_s:.0f} s after the client hung up")
    _expect(made < asked, f"all of its {asked} tokens were made")
    said = f"running {running:g}, then 0 after {took_s:.2f} s; {made:g} of {asked} tokens made"
    return Seen(said, PROMPT)


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


# --- asking and looking ---


def _completion(served: Served, **more: Any) -> dict[str, Any]:
    return {"model": served.model, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0} | more


def _expect(holds: bool, words: str) -> None:
    if not holds:
        raise Wrong(words)


def _ok(answer: Answer) -> Answer:
    _expect(answer.status == 200, f"{answer.status}: {_error(answer.body)}")
    return answer


def _refused(answer: Answer) -> Seen:
    _expect(400 <= answer.status < 500, f"{answer.status} where a 4xx is due: {_error(answer.body)}")
    return Seen(f"{answer.status}: {_error(answer.body)}")


def _error(body: Any) -> str:
    """The message of an error's body, in one short line."""
    said = body.get("error", body) if isinstance(body, dict) else body
    return " ".join(str(said.get("message", said) if isinstance(said, dict) else said).split())[:200]


def _text(text: str) -> str:
    _expect(bool(text.strip()), "an empty text came")
    return text


def _counted(body: dict[str, Any]) -> str:
    """The tokens of an answer, which must be some and no more than asked for."""
    prompt, made = body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
    _expect(prompt > 0 and 0 < made <= TOKENS, f"asked for {TOKENS} tokens at most, it counts {prompt} + {made}")
    return f"{prompt} + {made} tokens, finish_reason {body['choices'][0]['finish_reason']}"


def _metrics_at(served: Served) -> Endpoint:
    return Endpoint("http", HOST, served.port, METRICS)


def _total(at: Endpoint, quantity: Any) -> float:
    seen = look(at)
    return seen.total(name_in(seen, quantity) or "") or 0.0


def _settled(read: Callable[[], float], done: Callable[[float], bool]) -> float:
    """Read until it is `done` or the time is over: counts follow an answer a step later."""
    deadline = time.monotonic() + SETTLE_S
    while not done(value := read()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value
