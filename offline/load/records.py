"""The raw lines of a start under load: a served request, an engine step. Times are CLOCK_MONOTONIC nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from offline.records.lines import ProcessMemory
from offline.records.resolved import Resolved
from offline.spec.settings import EngineSettings
from probes.columns import column
from tracing.events.enginephase import EnginePhase

FINISHED = ("length", "stop")  # as asked; the others are unfinished, failed and aborted


@dataclass(frozen=True)
class ServedRequest:
    """One request of one rate on one start of a variant."""

    variant: str = field(metadata=column("name of the variant"))
    start: int = field(metadata=column("number of the variant's start in the run"))
    rate_req_s: float | None = field(metadata=column("request rate; null for one request at a time", "requests/s"))
    request: int = field(metadata=column("number of the request in the rate's schedule"))
    scheduled_ns: int = field(metadata=column("when it was to be sent", "ns"))
    sent_ns: int = field(metadata=column("when it was sent", "ns"))
    queued_ns: int | None = field(metadata=column("when the engine's core had it; null where not known", "ns"))
    token_ns: tuple[int, ...] = field(metadata=column("when each of its outputs came", "ns"))
    tokens: tuple[int, ...] = field(metadata=column("tokens that each output held", "tokens"))
    prompt_tokens: int = field(metadata=column("tokens of its prompt", "tokens"))
    cached_tokens: int | None = field(metadata=column("of those, found in the prefix cache", "tokens"))
    finish: str = field(
        metadata=column("length, stop, unfinished (still running when the rate's time was over), failed or aborted")
    )
    error: str | None = field(default=None, metadata=column("why it failed, in the engine's words"))
    preemptions: int | None = field(default=None, metadata=column("times it was sent back to wait"))
    started_ns: int | None = field(default=None, metadata=column("when it first ran; null where not known", "ns"))
    prefilled_ns: int | None = field(
        default=None,
        metadata=column("when an engine of its own had computed the prompt; null where there is none", "ns"),
    )


@dataclass(frozen=True)
class StepLine:
    """One step of the engine, and what it held then."""

    start_ns: int = field(metadata=column("its start", "ns"))
    end_ns: int = field(metadata=column("its end", "ns"))
    running: int = field(metadata=column("requests that it ran", "requests"))
    waiting: int = field(metadata=column("requests that waited meanwhile", "requests"))
    kv_use: float | None = field(metadata=column("share of the KV cache that was used, 0 to 1"))
    tokens: int = field(metadata=column("prompt and output tokens that it computed", "tokens"))
    preempted: int | None = field(default=None, metadata=column("requests sent back to wait", "requests"))


@dataclass(frozen=True)
class MeasuredRate:
    """A rate that was measured to its end on one start: its window, and what became of its requests."""

    variant: str = field(metadata=column("name of the variant"))
    start: int = field(metadata=column("number of the variant's start in the run"))
    rate_req_s: float | None = field(metadata=column("request rate; null for one request at a time", "requests/s"))
    begin_ns: int = field(metadata=column("the schedule's beginning", "ns"))
    end_ns: int = field(metadata=column("the end of its duration: nothing is sent after it", "ns"))
    closed_ns: int = field(metadata=column("when the last request had ended or was given up", "ns"))
    scheduled: int = field(metadata=column("requests of the schedule", "requests"))
    sent: int = field(metadata=column("requests that were sent", "requests"))
    finished: int = field(metadata=column("requests that ended as asked", "requests"))
    unfinished: int = field(metadata=column("requests given up because they still ran", "requests"))
    failed: int = field(metadata=column("requests that failed", "requests"))
    prefix_reset: bool = field(metadata=column("whether cached prefixes were forgotten before it"))
    steps_lost: int = field(default=0, metadata=column("its first steps, where the step log overwrote them", "steps"))
    starved_ns: int = field(
        default=0, metadata=column("time that the thread which received the tokens waited for a processor", "ns")
    )
    expert_tokens: tuple[tuple[int, ...], ...] = field(
        default=(),
        metadata=column("tokens that each expert got, by layer; empty where not told", "tokens"),
    )

    def holds(self, request: ServedRequest) -> bool:
        """Whether a request of the same start is one of this rate."""
        return request.rate_req_s == self.rate_req_s and self.begin_ns <= request.scheduled_ns <= self.closed_ns


@dataclass(frozen=True)
class VariantStart:
    """A start of a variant (`configuration.json`): what was asked, what it resolved to, and how it ended."""

    variant: str = field(metadata=column("name of the variant"))
    start: int = field(metadata=column("number of the variant's start in the run"))
    kind: str = field(metadata=column("vllm, split (two of them), torch or server"))
    settings: EngineSettings = field(metadata=column("its settings as asked"))
    resolved: Resolved | None = field(
        default=None, metadata=column("what the engine made of them; null where it did not come up")
    )
    vocabulary: int | None = field(default=None, metadata=column("size of the model's vocabulary", "tokens"))
    phases: tuple[EnginePhase, ...] = field(
        default=(), metadata=column("start-up phases of its processes; empty where not known")
    )
    startup_s: float | None = field(default=None, metadata=column("the whole start", "s"))
    memory: tuple[ProcessMemory, ...] = field(
        default=(), metadata=column("memory of each of its processes, right after the start")
    )
    card: str | None = field(
        default=None, metadata=column("the card, or the cluster's node, that it ran on; null where there is but one")
    )
    step_log: bool | None = field(
        default=None, metadata=column("whether the step log is in the engine; null where its steps are not from there")
    )
    state: str = field(default="running", metadata=column("running, then complete, failed, refused or interrupted"))
    reason: str | None = field(default=None, metadata=column("why it failed or was refused, in the engine's words"))
