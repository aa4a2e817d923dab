"""The review of a trace as a tree of records, and `review.json`, which holds it: written and read here alone.

Shares are fractions of 1. Schema 1 was built without records, 2 had no `starvation`, in 3 the columns of a step did not
add up, in 6 a worker's waiting for other ranks was its work, 7 had neither latencies, load, `starts`, nor why requests
stayed in the queue, and 8 none of `kernels`, `graphs`, `prefix_cache` and `preemptions`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from probes.columns import column
from probes.errors import EnginescopeError
from probes.jsonform import read_record
from tracing.breakdown.batches.graphs import GraphUse
from tracing.breakdown.batches.load import LoadFigure
from tracing.breakdown.batches.prefixcache import Preemption, PrefixCacheUse
from tracing.breakdown.batches.queue import BudgetUse, HeldBackSteps
from tracing.breakdown.cost import RecorderCost
from tracing.breakdown.kernels.summary import KernelSummary
from tracing.breakdown.otherwatchers import GpuDevice, GpuSummary, OperatorSummary, SampleSummary
from tracing.breakdown.requests.latencies import LatencyFigure
from tracing.breakdown.starts import EngineStart
from tracing.breakdown.starvation import Starvation

SCHEMA = 10
FILE = "review.json"


@dataclass(frozen=True)
class RequestCounts:
    """`requests`: how many there were, and what became of them."""

    total: int = field(metadata=column("all that were recorded", "requests"))
    whole: int = field(metadata=column("those recorded from call to last output", "requests"))
    states: dict[str, int] = field(metadata=column("by state: finished, stopped, aborted, refused or cut", "requests"))
    cut: dict[str, tuple[str, ...]] = field(metadata=column("of each cut one, by id: what a whole one would have"))


@dataclass(frozen=True)
class BudgetPart:
    """A row of `budget`: one stage or named wait, over all whole requests; the largest share first."""

    stage: str = field(metadata=column("the stage, the named wait, or unexplained"))
    median_ns: float = field(metadata=column("the median request's time in it", "ns"))
    p95_ns: float = field(metadata=column("its 95th percentile", "ns"))
    share: float = field(metadata=column("of the latency of all requests together", "1"))


@dataclass(frozen=True)
class StepKind:
    """A row of `steps`: the engine steps of one kind."""

    kind: str = field(metadata=column("prefill, mixed, first decode, decode or empty"))
    count: int = field(metadata=column("how many there were", "steps"))
    median_ns: int = field(metadata=column("the median length, from scheduling to the end of the update", "ns"))
    period_median_ns: int | None = field(
        metadata=column("to the start of the next step; less than the length where steps overlap; null: no next", "ns")
    )
    tokens_median: float = field(metadata=column("scheduled in the median step", "tokens"))
    requests_median: float = field(metadata=column("scheduled in the median step", "requests"))
    schedule_median_ns: int = field(metadata=column("scheduling", "ns"))
    dispatch_median_ns: int = field(metadata=column("handing the step to the worker", "ns"))
    prepare_median_ns: int = field(metadata=column("the worker's preparation of inputs", "ns"))
    model_median_ns: int = field(metadata=column("the model; on a device its launch", "ns"))
    collective_median_ns: int = field(
        metadata=column("collectives, once all ranks have come; on a device a launch", "ns")
    )
    sample_median_ns: int = field(metadata=column("sampling; on a device its launch", "ns"))
    draft_median_ns: int = field(metadata=column("speculative drafting", "ns"))
    kv_median_ns: int = field(metadata=column("KV connectors and offload", "ns"))
    execute_median_ns: int = field(metadata=column("the rest of what the worker does", "ns"))
    wait_gpu_median_ns: int = field(metadata=column("waiting for the device", "ns"))
    wait_ranks_median_ns: int = field(metadata=column("waiting for ranks that come later, and for other engines", "ns"))
    wait_pipeline_median_ns: int = field(metadata=column("waiting for the pipeline stage before", "ns"))
    reply_median_ns: int = field(metadata=column("serializing and sending the result to the core", "ns"))
    wait_worker_median_ns: int = field(
        metadata=column("the core waits, and the worker does not run yet or no more", "ns")
    )
    update_median_ns: int = field(metadata=column("the scheduler's update", "ns"))
    gc_median_ns: int = field(metadata=column("garbage collections in the core and the worker", "ns"))
    earlier_step_median_ns: int = field(
        metadata=column("with a batch queue: standing behind an earlier step until that is through", "ns")
    )
    other_work_median_ns: int = field(metadata=column("the core is at the next step, or at new requests", "ns"))
    engine_loop_median_ns: int = field(
        metadata=column("what the core's loop does itself, between the calls that have spans", "ns")
    )
    unexplained_median_ns: int = field(metadata=column("what no span explains; of each step all these add up", "ns"))
    unexplained_share_median: float = field(metadata=column("of the step's length", "1"))
    output_median_ns: int = field(metadata=column("making the step's messages, after its end", "ns"))
    worker_spread_median_ns: int = field(
        metadata=column("by how much the own work of the slowest worker exceeds that of the fastest", "ns")
    )
    worker_idle_share: float | None = field(
        metadata=column(
            "of the time to the next step, in which the worker did nothing; null: not known, as on a device", "1"
        )
    )
    core_while_idle: dict[str, float] = field(
        metadata=column("what the core did then: the five largest stages, each as a share of the same time", "1")
    )

    def phase_median_ns(self, phase: str) -> int:
        """The median of one of `tracing.timeline.steps.phases.PHASES`."""
        length: int = getattr(self, f"{phase}_median_ns")
        return length


@dataclass(frozen=True)
class WorkerUse:
    """A row of `workers`: one worker over all steps."""

    worker_pid: int = field(metadata=column("its process; the core's where it runs inside"))
    core_pid: int = field(metadata=column("the core's process"))
    steps: int = field(metadata=column("those that it ran", "steps"))
    run_median_ns: int = field(metadata=column("the median time in `execute_model` and `sample_tokens`", "ns"))
    own_median_ns: int = field(metadata=column("of it the median without waits and collectives", "ns"))
    others_median_ns: int = field(
        metadata=column("of it the median of waiting for other ranks, and for other engines", "ns")
    )
    slowest_share: float = field(
        metadata=column("the share of its core's steps in which its own work was the longest", "1")
    )
    idle_share: float | None = field(
        metadata=column("of the time to the next step, in which it ran nothing; null: not known, as on a device", "1")
    )


@dataclass(frozen=True)
class HopKind:
    """A row of `hops`: one way between two processes."""

    hop: str = field(metadata=column("from which role to which"))
    count: int = field(metadata=column("how many there were", "hops"))
    median_ns: int = field(metadata=column("the median latency", "ns"))
    p95_ns: int = field(metadata=column("its 95th percentile", "ns"))
    bytes_median: int | None = field(metadata=column("the median message; null: not known", "bytes"))


@dataclass(frozen=True)
class SlowStep:
    """A row of `slow_steps`: a step that took longer than its peers, which are of its kind with as many tokens."""

    core_pid: int = field(metadata=column("the core's process"))
    kind: str = field(metadata=column("as in `steps`"))
    step: int = field(metadata=column("its number, from 0 in each core"))
    tokens: int = field(metadata=column("scheduled in it", "tokens"))
    start_ns: int = field(metadata=column("when it began", "ns of CLOCK_MONOTONIC"))
    ns: int = field(metadata=column("how long it took", "ns"))
    median_ns: int = field(metadata=column("how long the median of its peers took", "ns"))
    reason: str = field(metadata=column("the likely reason"))


@dataclass(frozen=True)
class SlowRequests:
    """A row of `slow_requests`: those that are slow for one reason."""

    request: str = field(metadata=column("the internal id of the longest"))
    count: int = field(metadata=column("how many there are", "requests"))
    ns: int = field(metadata=column("how long the longest took", "ns"))
    reason: str = field(metadata=column("the part that most exceeds the median request's"))


@dataclass(frozen=True)
class Review:
    """`review.json`."""

    about: str = field(metadata=column("what was run, under which vLLM, on which machine"))
    problems: tuple[str, ...] = field(metadata=column("what makes the trace less than whole, a line each"))
    window: str = field(metadata=column("the part of the trace that was chosen; empty: all of it"))
    requests: RequestCounts = field(metadata=column("how many there were, and what became of them"))
    latencies: tuple[LatencyFigure, ...] = field(metadata=column("what their callers waited for"))
    load: tuple[LoadFigure, ...] = field(metadata=column("what the engine had to do, over time"))
    budget: tuple[BudgetPart, ...] = field(metadata=column("where the requests' time went"))
    unexplained_share_median: float | None = field(
        metadata=column("the median request's unexplained share of its latency; null: no whole request", "1")
    )
    unexplained_ns_per_token_median: float | None = field(
        metadata=column("the median request's unexplained time an output token; null: no token", "ns")
    )
    steps: tuple[StepKind, ...] = field(metadata=column("what a step is made of, by kind"))
    queue: tuple[HeldBackSteps, ...] = field(metadata=column("why the head of the queue waited; empty: not told"))
    use: tuple[BudgetUse, ...] = field(metadata=column("what the steps used of their budgets; empty: not told"))
    graphs: tuple[GraphUse, ...] = field(metadata=column("which CUDA graphs ran them; empty: not told, or no device"))
    prefix_cache: tuple[PrefixCacheUse, ...] = field(
        metadata=column("what requests found in the prefix cache, and what evictions and preemptions cost")
    )
    preemptions: tuple[Preemption, ...] = field(metadata=column("requests that lost their KV blocks, the costliest"))
    workers: tuple[WorkerUse, ...] = field(metadata=column("how the workers differ"))
    devices: tuple[GpuDevice, ...] = field(
        metadata=column("how the workers' devices spent the steps, by the recorder; empty: none, or not known")
    )
    hops: tuple[HopKind, ...] = field(metadata=column("messages between processes"))
    slow_steps: tuple[SlowStep, ...] = field(metadata=column("the ten longest of those slower than their peers"))
    slow_requests: tuple[SlowRequests, ...] = field(metadata=column("the slowest 5 %, but at least ten, by reason"))
    starvation: Starvation | None = field(
        metadata=column("how long the machine kept the engine from running; null: not sampled")
    )
    starts: tuple[EngineStart, ...] = field(metadata=column("how the engines started; empty: that is not in the trace"))
    dropped_spans: int = field(metadata=column("lost because a buffer was full", "spans"))
    torn_spans: int = field(metadata=column("lost because their process died while it wrote them", "spans"))
    roles: dict[str, tuple[int, ...]] = field(metadata=column("the processes in which each role was seen"))
    cost: RecorderCost = field(metadata=column("what the recorder itself cost"))
    operators: OperatorSummary | None = field(metadata=column("torch's profiler; null: it did not run"))
    samples: SampleSummary | None = field(metadata=column("py-spy; null: it did not run"))
    gpu: GpuSummary | None = field(metadata=column("the GPU, by nsys; null: no report with GPU activity"))
    kernels: KernelSummary | None = field(
        metadata=column("kernels by family, as nsys saw them, else torch's profiler; null: neither saw any")
    )


def as_json(review: Review) -> dict[str, object]:
    """The review as `review.json` holds it."""
    return {"schema": SCHEMA} | asdict(review)


def write(review: Review, path: Path) -> None:
    """Write `review.json`; `OSError` where that cannot be."""
    path.write_text(json.dumps(as_json(review), indent=1))


def read(path: Path) -> Review:
    """The review in a file; `EnginescopeError` where it cannot be read, or is of another schema."""
    try:
        values = json.loads(path.read_text())
        schema = values.pop("schema")
        if schema == SCHEMA:
            return read_record(Review, values)
    except OSError as error:
        raise EnginescopeError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise EnginescopeError(f"{path} is no review: {error}; write it again: python -m tracing.review DIR") from None
    raise EnginescopeError(
        f"{path} is of schema {schema}, this version reads {SCHEMA}: write it again (python -m tracing.review "
        f"{path.parent})"
    )
