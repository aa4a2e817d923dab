"""The lines of `records.jsonl`: an engine start, a trial, an arm that was given up. Raw values only.

Times in `_ns` and the engine's stamps in `_s` are of CLOCK_MONOTONIC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from offline.records.kernelreading import KernelReading, slowest_s
from offline.records.resolved import Resolved
from offline.records.traced import TracedRecord
from probes.columns import column
from probes.hub.hubmodel import ModelFile
from probes.jsonform import Malformed, read_record
from tracing.events.enginephase import EnginePhase
from tracing.events.step import Step


@dataclass(frozen=True)
class ProcessMemory:
    """Memory of one process of the engine, right after the start."""

    title: str = field(metadata=column("vLLM's title of the process"))
    pid: int = field(metadata=column("its number"))
    rss_bytes: int = field(metadata=column("its resident memory", "bytes"))


@dataclass(frozen=True)
class StartRecord:
    """One engine start of an arm."""

    kind: ClassVar[str] = "start"
    arm: str = field(metadata=column("id of the arm: a digest of its engine arguments"))
    engine: int = field(metadata=column("number of the engine start in the run, over resumes"))
    name: str = field(metadata=column("the engine arguments that tell the arm from the others"))
    started_together: int = field(metadata=column("engines that were being started at the same time"))
    resolved: Resolved = field(metadata=column("what the engine made of its arguments"))
    vocabulary: int = field(metadata=column("size of the model's vocabulary", "tokens"))
    step_log: bool = field(metadata=column("whether the step log is in the engine's core"))
    unhooked: tuple[str, ...] = field(metadata=column("engine functions that could not be hooked"))
    import_start_ns: int = field(metadata=column("vLLM's import begins", "ns"))
    engine_start_ns: int = field(metadata=column("vLLM is imported, `LLM(…)` begins", "ns"))
    ready_ns: int = field(metadata=column("`LLM(…)` is back", "ns"))
    phases: tuple[EnginePhase, ...] = field(metadata=column("start-up phases of all its processes"))
    plugin_ns: dict[str, int] = field(metadata=column("when each process, by its number, loaded the plugin", "ns"))
    memory: tuple[ProcessMemory, ...] = field(metadata=column("memory of each of its processes"))
    model_config: ModelFile | None = field(
        default=None, metadata=column("the model's own configuration, as the engine holds it")
    )
    node: str | None = field(default=None, metadata=column("the cluster's node that it ran on; null: this machine"))
    gpu_kernel_note: str = field(
        default="", metadata=column("why the fixed kernel is not timed on its devices; empty: it is, or was not tried")
    )

    @property
    def startup_s(self) -> float:
        """From the first import to an engine that is ready."""
        return (self.ready_ns - self.import_start_ns) / 1e9


@dataclass(frozen=True)
class RequestRecord:
    """One request of a trial, by vLLM's own stamps."""

    prompt_tokens: int = field(metadata=column("tokens of its prompt", "tokens"))
    cached_tokens: int | None = field(metadata=column("of those, found in the prefix cache", "tokens"))
    generated_tokens: int = field(metadata=column("tokens that it generated", "tokens"))
    finish_reason: str | None = field(metadata=column("why it ended"))
    queued_s: float = field(metadata=column("the core has it", "s"))
    scheduled_s: float = field(metadata=column("it is first scheduled", "s"))
    first_token_s: float = field(metadata=column("its first token", "s"))
    last_token_s: float = field(metadata=column("its last token", "s"))
    ttft_s: float = field(metadata=column("arrival in the front end to the first token there", "s"))

    @property
    def queue_s(self) -> float:
        """Waiting in the core before it is first scheduled."""
        return self.scheduled_s - self.queued_s

    @property
    def prefill_s(self) -> float:
        """From then to its first token."""
        return self.first_token_s - self.scheduled_s

    @property
    def decode_s(self) -> float:
        """From its first token to its last."""
        return self.last_token_s - self.first_token_s

    @property
    def tpot_s(self) -> float | None:
        """Mean time a token after the first; None where there is no second one."""
        return self.decode_s / (self.generated_tokens - 1) if self.generated_tokens > 1 else None

    @property
    def latency_s(self) -> float:
        """From arrival to its last token."""
        return self.ttft_s + self.decode_s


@dataclass(frozen=True)
class DeviceUse:
    """What one GPU did over a trial; None where its driver does not tell, or where the trial was too short."""

    index: int = field(metadata=column("its number"))
    name: str = field(metadata=column("its name"))
    used_bytes: int | None = field(metadata=column("memory in use after the trial", "bytes"))
    total_bytes: int | None = field(metadata=column("its memory", "bytes"))
    utilization_percent: float | None = field(
        metadata=column("share of time in which a kernel ran, mean of samples a second apart", "%")
    )
    power_w: float | None = field(metadata=column("power, mean of the same samples", "W"))

    @property
    def used_share(self) -> float | None:
        """The share of its memory that is in use."""
        return self.used_bytes / self.total_bytes if self.used_bytes is not None and self.total_bytes else None


@dataclass(frozen=True)
class TrialRecord:
    """One timed repeat of a cell."""

    kind: ClassVar[str] = "trial"
    arm: str = field(metadata=column("id of its arm"))
    cell: str = field(metadata=column("id of its cell: a digest of engine arguments, batch, cache state and lengths"))
    trial: int = field(metadata=column("number of the trial in its cell, over all starts"))
    engine: int = field(metadata=column("engine start that ran it"))
    group: int = field(metadata=column("number of the set of engines that were alive together or ran in one pass"))
    round: int = field(metadata=column("number of the round, in which every engine of the group runs the same cells"))
    seed: int = field(metadata=column("seed of its prompts"))
    start_ns: int = field(metadata=column("the batch is handed over", "ns"))
    end_ns: int = field(metadata=column("all of it is back", "ns"))
    asked_tokens: int = field(metadata=column("tokens that were to be generated", "tokens"))
    expected_cached_tokens: int | None = field(
        metadata=column("tokens that the prefix cache should give, by arithmetic on the prompts", "tokens")
    )
    prefix_queries: int = field(metadata=column("tokens looked up in the prefix cache", "tokens"))
    prefix_hits: int = field(metadata=column("tokens found there", "tokens"))
    preemptions: int = field(metadata=column("times that a running request was sent back to wait"))
    reference_ns: tuple[int, ...] = field(
        metadata=column("the fixed kernel on the CPU before and after the batch", "ns")
    )
    steps_lost: int = field(metadata=column("steps that the log no longer had when it was read"))
    step_fields: tuple[str, ...] = field(metadata=column("names of the values of a step"))
    steps: tuple[tuple[int, ...], ...] = field(metadata=column("the engine's steps during the batch"))
    requests: tuple[RequestRecord, ...] = field(metadata=column("its requests"))
    devices: tuple[DeviceUse, ...] = field(default=(), metadata=column("the visible GPUs"))
    gpu_kernels: tuple[KernelReading, ...] = field(
        default=(), metadata=column("the fixed kernel on the engine's GPUs before and after the batch")
    )

    @property
    def elapsed_s(self) -> float:
        """Time of the batch."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def generated_tokens(self) -> int:
        """Tokens that its requests generated."""
        return sum(request.generated_tokens for request in self.requests)

    @property
    def output_tok_s(self) -> float:
        """Generated tokens a second."""
        return self.generated_tokens / self.elapsed_s

    @property
    def reference_s(self) -> float:
        """Mean time of the fixed kernel on the CPU."""
        return sum(self.reference_ns) / len(self.reference_ns) / 1e9

    @property
    def gpu_reference_s(self) -> float | None:
        """Mean time of that on the slowest of the engine's GPUs; None where it was not timed."""
        return slowest_s(self.gpu_kernels)

    def step_log(self) -> list[Step]:
        """Its steps by name."""
        return [Step(**dict(zip(self.step_fields, values, strict=True))) for values in self.steps]


@dataclass(frozen=True)
class StopRecord:
    """An arm that was given up."""

    kind: ClassVar[str] = "stop"
    arm: str = field(metadata=column("id of the arm"))
    engine: int = field(metadata=column("engine start that was the last one"))
    status: str = field(metadata=column("`refused` where the engine declined its arguments, `failed` else"))
    reason: str = field(metadata=column("why, in the engine's words"))


@dataclass(frozen=True)
class AnswersRecord:
    """What an arm answers to fixed prompts; only of runs in which an axis may change the model's arithmetic."""

    kind: ClassVar[str] = "answers"
    arm: str = field(metadata=column("id of the arm"))
    engine: int = field(metadata=column("engine start that answered"))
    tokens: tuple[tuple[int, ...], ...] = field(metadata=column("greedy tokens, prompt by prompt"))
    log_probs: tuple[tuple[float, ...], ...] = field(
        metadata=column("their log probabilities; empty where the engine does not give them", "nat")
    )


Record = StartRecord | TrialRecord | StopRecord | AnswersRecord | TracedRecord
CLASSES: dict[str, type[Record]] = {
    cls.kind: cls for cls in (StartRecord, TrialRecord, StopRecord, AnswersRecord, TracedRecord)
}


def record_of(values: Mapping[str, Any]) -> Record:  # `Any`: what JSON holds
    """A line of `records.jsonl` as a record; `Malformed` where it is none."""
    kind, rest = values.get("kind"), {name: value for name, value in values.items() if name != "kind"}
    if kind not in CLASSES:
        raise Malformed(f"unknown kind of record {kind!r}")
    return read_record(CLASSES[kind], rest)


def line_of(record: Record) -> dict[str, object]:
    """A record as a line of `records.jsonl` holds it."""
    return {"kind": record.kind, **asdict(record)}
