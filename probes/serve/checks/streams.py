"""Checks that take time: a stream, the counts of `/metrics`, and a client that hangs up half-way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from probes.metrics.endpoint import Endpoint, look
from probes.metrics.quantities import BY_KEY, ServerMetric, has_any, name_in
from probes.processes.runqueue import queued_ns
from probes.serve.checks.expectations import (
    PROMPT,
    TOKENS,
    CheckFailed,
    NotApplicable,
    Observation,
    Served,
    completed,
    completion,
    expect,
    some,
)
from probes.serve.client import DONE

STARVED_SHARE = 0.5  # of a stream the client itself waited for a processor: what came when is not known then
STREAMED_SHARE = 0.2  # of the whole time lies between the first and the last chunk at least: one held back has 0
SETTLE_S = 5.0
CHUNKS_BEFORE_CANCEL = 4
# On a busy machine a healthy server's answers look held back, or over too soon: asked again, and for more tokens.
STREAMED = (TOKENS, 4 * TOKENS, 16 * TOKENS)
HANG_UPS = 3
RUNNING, WAITING, GENERATED = (BY_KEY[key] for key in ("running", "waiting", "generation_tokens"))


def streaming(served: Served) -> Observation:
    """Chunks come one by one, as they are made, and `[DONE]` closes; held back at every length they are at fault."""
    for tokens in STREAMED:
        began = Moment.now()
        chunks = _streamed(served, min(tokens, served.max_len - TOKENS))
        if chunks.share > STREAMED_SHARE:
            return chunks.observation
    began.expect_a_processor()
    raise CheckFailed(f"{len(chunks.after_s)} chunks at once: held back until {1000 * chunks.after_s[0]:.0f} ms")


@dataclass(frozen=True)
class Moment:
    """A moment of this thread: the clock, and how long it has waited for a processor so far, in seconds.

    Beside an engine that spins, the kernel may let a client wait while all chunks arrive: it then looks as if the
    server held them back. Where the kernel does not tell, nothing was waited.
    """

    at_s: float
    queued_s: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.monotonic(), queued_ns() / 1e9)

    def expect_a_processor(self) -> None:
        """`NotApplicable` where this thread has waited for a processor most of the time since."""
        now = Moment.now()
        took_s, queued_s = now.at_s - self.at_s, now.queued_s - self.queued_s
        if queued_s > STARVED_SHARE * took_s:
            waited = f"the client itself waited for a processor for {1000 * queued_s:.0f} of {1000 * took_s:.0f} ms"
            raise NotApplicable(f"not known: {waited}; ask from another machine, or while this one is less busy")


@dataclass(frozen=True)
class _Chunks:
    """The chunks of one stream: when each came, in seconds from the asking, and the text of all."""

    after_s: list[float]
    text: str

    @property
    def share(self) -> float:
        """Of the whole time, what lies between the first chunk and the last."""
        return (self.after_s[-1] - self.after_s[0]) / self.after_s[-1]

    @property
    def observation(self) -> Observation:
        gaps_s = [later - at for at, later in pairwise(self.after_s)]
        count = f"{len(self.after_s)} chunks, then {DONE}; TTFT {1000 * self.after_s[0]:.0f} ms, gaps "
        return Observation(
            count + f"{1000 * median(gaps_s):.0f} ms (median) to {1000 * max(gaps_s):.0f} ms", PROMPT, self.text
        )


def _streamed(served: Served, tokens: int) -> _Chunks:
    request: dict[str, object] = {
        "max_tokens": tokens,
        "stream": True,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }
    began = time.monotonic()
    events = list(served.stream("/v1/completions", completion(served, **request)))
    expect(bool(events), "no chunk came")
    expect(events[-1][1] == DONE, f"ends with {events[-1][1][:60]!r}, not with {DONE}")
    chunks = [(at_s, json.loads(data)) for at_s, data in events[:-1]]
    choices = [(at_s - began, chunk["choices"][0]) for at_s, chunk in chunks if chunk["choices"]]
    usage = chunks[-1][1].get("usage") or {}
    expect(usage.get("completion_tokens") == tokens, f"asked for {tokens} tokens, the last chunk counts {usage}")
    expect(len(choices) > 1, f"all of it in {len(choices)} chunk")
    return _Chunks([after_s for after_s, _ in choices], some("".join(choice["text"] for _, choice in choices)))


def metrics(served: Served) -> Observation:
    """It counts the tokens that it generated."""
    at = served.at
    expect(has_any(look(at)), "none of vLLM's metrics; was it started with --disable-log-stats?")
    before = _total(at, GENERATED)
    generated = completed(served.ask("/v1/completions", completion(served))).completion_tokens
    increase = _settled(lambda: _total(at, GENERATED) - before, lambda more: more >= generated)
    others = increase > generated and not served.alone
    expect(increase == generated or others, f"generated {generated} tokens, /metrics counts {increase:g} more")
    counted = f"{len(look(at).samples)} metrics; generated {generated} tokens, counts {increase:g} more"
    return Observation(counted + ", others' among them" * others)


def cancelled(served: Served) -> Observation:
    """A request whose client hangs up half-way is ended: the running count returns to 0 before the last token.

    Chunks came, so it ran; the client hangs up at once, as asking for the count first takes longer than many a request.
    """
    at = served.at
    longest = served.max_len - 2 * TOKENS
    expect(longest > 4 * CHUNKS_BEFORE_CANCEL, "--max-len is too short to hang up half-way")
    if not served.alone and (busy := _unfinished(at)):
        raise NotApplicable(f"{busy:g} requests of others run or wait: which of them is ours is not told")
    for _ in range(HANG_UPS):
        began = Moment.now()
        before = _total(at, GENERATED)
        took_s = _hang_up(served, at, longest)
        if (generated := _total(at, GENERATED) - before) < longest:
            course = f"hung up after {CHUNKS_BEFORE_CANCEL} chunks, none running {took_s:.2f} s later"
            return Observation(f"{course}; {generated:g} of {longest} tokens generated", PROMPT)
    began.expect_a_processor()
    raise CheckFailed(f"all of its {longest} tokens were generated, {HANG_UPS} times")


def _hang_up(served: Served, at: Endpoint, tokens: int) -> float:
    """Hang up on a stream after some chunks; the seconds until no request ran or waited."""
    events = served.stream("/v1/completions", completion(served, stream=True, ignore_eos=True, max_tokens=tokens))
    for _ in range(CHUNKS_BEFORE_CANCEL):
        _, data = next(events, (0.0, DONE))
        expect(data != DONE, "the stream ended before the client could hang up")
    events.close()
    hung_up = time.monotonic()
    left = _settled(lambda: _unfinished(at), lambda count: count == 0)
    took_s = time.monotonic() - hung_up
    whose = "" if served.alone else ", unless another client's"
    expect(left == 0, f"{left:g} still running or waiting {took_s:.0f} s after the client hung up{whose}")
    return took_s


def _unfinished(at: Endpoint) -> float:
    return _total(at, RUNNING) + _total(at, WAITING)


def _total(at: Endpoint, quantity: ServerMetric) -> float:
    snapshot = look(at)
    return snapshot.total(name_in(snapshot, quantity) or "") or 0.0


def _settled(read: Callable[[], float], done: Callable[[float], bool]) -> float:
    """Read until it is `done` or the time is over: counts follow an answer a step later."""
    deadline = time.monotonic() + SETTLE_S
    while not done(value := read()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value
