"""What stands out in a window of a server, each with its likely reason and the command that tells more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from probes.devices.sampling import SampledDevice
from probes.metrics.configuration import CacheConfiguration
from probes.metrics.quantities import WindowFigures
from probes.metrics.table import finished_text, number, percent, seconds
from probes.metrics.traffic import HandledRequests

KV_FULL = 0.95  # of its blocks held: the next request that needs some has to wait
QUEUE_SHARE = 0.1  # of a request's time, on the mean, that it waits for a place in a batch
LOW_PERCENT = 50.0
FEWEST_PROMPTS = 2  # of which the second could have found the first in the prefix cache
FULL_BATCH = "requests outpace it: a batch is at max_num_seqs, or prompts fill each step's max_num_batched_tokens"
GIVEN_UP = "the engine gave them up, for a pause or a failed transfer of KV blocks (who hangs up is not counted)"
FAILED_REASONS = ("abort", "error")
SIGNS = "errors, requests cut short, queueing, a full KV cache, preemptions, a prefix cache without hits"


@dataclass(frozen=True)
class WindowFinding:
    """One thing that stands out: its name, the figures, the likely reason, and what to run next."""

    name: str
    what: str
    reason: str
    command: str


@dataclass(frozen=True)
class WindowFacts:
    """All that is known of a server at `url` in a window; `devices` is empty where no driver was asked."""

    url: str
    figures: WindowFigures
    handled: Sequence[HandledRequests] | None
    cache: CacheConfiguration | None
    devices: Sequence[SampledDevice] = ()

    @property
    def kv_is_full(self) -> bool:
        """Whether hardly a block of the KV cache is free."""
        return (self.figures.kv_cache_usage or 0.0) >= KV_FULL


def findings(facts: WindowFacts) -> list[WindowFinding]:
    """Everything that stands out, the gravest first."""
    return [each for look in LOOKS for each in look(facts)]


def refusals(facts: WindowFacts) -> Iterator[WindowFinding]:
    """Answers of HTTP's classes 5xx and 4xx."""
    reasons = {"5xx": "the server failed: its log says why", "4xx": "clients ask for what it does not have or take"}
    for kind, reason in reasons.items():
        counts = {each.handler: each.by_class[kind] for each in facts.handled or () if kind in each.by_class}
        if counts:
            where = ", ".join(f"{handler} {count:,.0f}" for handler, count in counts.items())
            yield WindowFinding(f"errors {kind}", where, reason, f"python -m probes.serve --url {facts.url}")


def cut_short(facts: WindowFacts) -> Iterator[WindowFinding]:
    """Requests that the engine ended before their last token."""
    cut = {reason: count for reason, count in (facts.figures.finished or {}).items() if reason in FAILED_REASONS}
    if any(cut.values()):
        yield WindowFinding("requests cut short", finished_text(cut), GIVEN_UP, f"python -m tracing.hang {facts.url}")


def queueing(facts: WindowFacts) -> Iterator[WindowFinding]:
    """Requests that wait for a place in a batch."""
    queue, whole = (facts.figures.times[key] for key in ("queue", "e2e"))
    waited_s, took_s = (each.mean if each and each.mean else 0.0 for each in (queue, whole))
    if not facts.figures.waiting and waited_s <= QUEUE_SHARE * took_s:
        return
    means = f"; a request waited {seconds(waited_s)} of its {seconds(took_s)} (means)" if took_s else ""
    what = f"{number(facts.figures.waiting)} wait{means}"
    reason = "the KV cache has no room for them" if facts.kv_is_full else FULL_BATCH
    yield WindowFinding("queueing", what, reason, f"python -m offline.load --base-url {facts.url} --knee")


def full_cache(facts: WindowFacts) -> Iterator[WindowFinding]:
    """A KV cache without free blocks, and what it throws out."""
    memory = f"python -m probes.memory {facts.url}"
    more = "more requests, or longer ones, than its blocks hold" + (f": {facts.cache.line()}" if facts.cache else "")
    if facts.kv_is_full:
        yield WindowFinding(
            "KV cache full", f"{percent(facts.figures.kv_cache_usage)} of the blocks held", more, memory
        )
    if facts.figures.preemptions:
        what = f"{_requests(facts.figures.preemptions)} thrown out, to be computed again"
        yield WindowFinding("preemptions", what, more, memory)


def no_hits(facts: WindowFacts) -> Iterator[WindowFinding]:
    """Prompts of which none was found in the prefix cache."""
    figures, cache, first = facts.figures, facts.cache, facts.figures.times["ttft"]
    if (first.count if first else 0) < FEWEST_PROMPTS or figures.prefix_hits:
        return
    if cache and cache.prefix_caching is False:
        what, reason = "the prefix cache is off", "the server was started so, or its model cannot use one"
    elif figures.prefix_queries:
        block = f"a block of {cache.block_size_tokens} tokens" if cache and cache.block_size_tokens else "a block"
        what = f"0 of {number(figures.prefix_queries)} {figures.prefix_unit} looked up were found"
        reason = f"prompts share no beginning as long as {block}, or it is thrown out before the next comes"
    else:
        return
    yield WindowFinding(
        "no prefix-cache hits", what, reason, "python -m offline.workload show FILE, of what clients send"
    )


def idle_cards(facts: WindowFacts) -> Iterator[WindowFinding]:
    """Cards with little to do while requests wait."""
    idle = [
        (each.index, used)
        for each in facts.devices
        if (used := each.activity.utilization_percent) is not None and used < LOW_PERCENT
    ]
    if idle and facts.figures.waiting:
        what = ", ".join(f"GPU {index} {used:.0f} % busy" for index, used in idle)
        what += f", {_requests(facts.figures.waiting)} waiting"
        reason = "the host does not feed it: front end, scheduler or tokenizer, or waits between cards"
        yield WindowFinding("idle cards", what, reason, traced(facts))


def mixed(facts: WindowFacts) -> Iterator[WindowFinding]:
    """Prompts computed beside decoding."""
    if facts.figures.mixed:
        prompt, output = number(facts.figures.prompt_tokens), number(facts.figures.generation_tokens)
        reason = "a step that computes a prompt lasts longer, and inter-token latency counts that as decoding"
        yield WindowFinding(
            "prefill beside decode", f"{prompt} prompt and {output} output tokens", reason, traced(facts)
        )


def _requests(count: float) -> str:
    return f"{number(count)} request{'' if count == 1 else 's'}"


def traced(facts: WindowFacts) -> str:
    """How to see where the time of its steps goes."""
    return f"python -m tracing.attach {facts.url}   # on its machine"


LOOKS = (refusals, cut_short, queueing, full_cache, no_hits, idle_cards, mixed)


def finding_lines(findings: Sequence[WindowFinding], with_devices: bool) -> Iterator[str]:
    """Three lines each; one where there are none, which names what was looked for, cards where they were looked at."""
    if not findings:
        cards = "idle cards, " if with_devices else ""
        yield f"Nothing stands out: no sign of {SIGNS}, {cards}prefill beside decode."
    for each in findings:
        yield f"{each.name}: {each.what}"
        yield f"    why   {each.reason}"
        yield f"    next  {each.command}"
