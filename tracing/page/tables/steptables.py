"""The review's tables of steps: what a step of each kind is made of, and how the workers differ."""

from __future__ import annotations

from collections.abc import Sequence

from probes.console import Rows, percent, us
from tracing.breakdown.review import Review, StepKind, WorkerUse
from tracing.timeline.steps.phases import PHASES, title

LEAST_SHARE = 0.002  # of a step's median, from which a phase has a column
STRAGGLING = 0.7  # of a core's steps, from which its slowest worker is a straggler
SLOWER = 1.1  # times the own work of the fastest, from which it is one
NO_STRAGGLER = "no worker is slower than the others most of the time"
OVERLAP = (
    "Steps overlap (a batch queue): the length is the latency of a step, from its scheduling to the end of its update; "
    "the period, from start to start, is what each costs."
)
IDLE = ["step", "worker idle", "due to"]
WORKERS = ["worker", "core", "steps", "median run", "own work", "wait: other ranks", "slowest in"]


def overlapping(kinds: Sequence[StepKind]) -> bool:
    """Whether a step begins before the one before it ended."""
    return any(kind.earlier_step_median_ns for kind in kinds)


def with_core(review: Review, columns: list[str], rows: Rows, cores: Sequence[object]) -> tuple[list[str], Rows]:
    """Columns and rows that name steps, and second the core whose they are where the trace has several: each numbers
    its own."""
    if len(review.roles.get("core", ())) < 2:
        return columns, rows
    return [columns[0], "core", *columns[1:]], [[row[0], core, *row[1:]] for row, core in zip(rows, cores, strict=True)]


def step_table(kinds: Sequence[StepKind], on_device: bool = False) -> tuple[list[str], Rows]:
    """Columns and rows: a phase has a column where it is more than a trace of a step of some kind.

    `on_device` where the worker launches on a device and goes on: the model's column is its launch then.
    """
    phases = [phase for phase in PHASES if any(_large(kind, phase) for kind in kinds)]
    queued, spread = overlapping(kinds), any(kind.worker_spread_median_ns for kind in kinds)
    known = any(kind.worker_idle_share is not None for kind in kinds)
    columns = ["step", "count", "tokens", "length", *["period"] * queued]
    columns += [*(title(phase, on_device) for phase in phases), "unexplained"]
    columns += [*["workers' spread"] * spread, *["worker idle"] * known]
    rows = []
    for kind in kinds:
        row = [
            kind.kind,
            kind.count,
            f"{kind.tokens_median:g}",
            us(kind.median_ns),
            *[us(kind.period_median_ns)] * queued,
        ]
        row += [us(kind.phase_median_ns(phase)) for phase in phases]
        row += [us(kind.unexplained_median_ns), *[us(kind.worker_spread_median_ns)] * spread]
        rows.append([*row, *[percent(kind.worker_idle_share)] * known])
    return columns, rows


def _large(kind: StepKind, phase: str) -> bool:
    return kind.phase_median_ns(phase) > LEAST_SHARE * kind.median_ns


def sentences(review: Review) -> str:
    """What the columns are, below the heading."""
    words = "Medians by kind of step; the columns of each single step and what is unexplained add up to its length. "
    if overlapping(review.steps):
        words += f"{OVERLAP} "
    if any(beside(worker, review.workers) for worker in review.workers):
        words += "The columns are those of the step's slowest worker. "
    return words


def straggler(workers: Sequence[WorkerUse]) -> str:
    """A sentence on the worker whose own work is the longest of its core's in most steps, or that there is none; empty
    where no core has several workers."""
    compared = [(worker, others) for worker in workers if (others := beside(worker, workers))]
    for worker, others in compared:
        fastest = min(others, key=lambda each: each.own_median_ns)
        if worker.slowest_share >= STRAGGLING and worker.own_median_ns >= SLOWER * fastest.own_median_ns:
            return (
                f"straggler: worker {worker.worker_pid} was the slowest in {worker.slowest_share:.0%} of the steps: "
                f"{us(worker.own_median_ns)} of its own work at the median, the fastest {us(fastest.own_median_ns)}, "
                f"which waited {us(fastest.others_median_ns)} for other ranks"
            )
    return NO_STRAGGLER if compared else ""


def beside(worker: WorkerUse, workers: Sequence[WorkerUse]) -> list[WorkerUse]:
    """The other workers of its core."""
    return [each for each in workers if each.core_pid == worker.core_pid and each is not worker]


def worker_table(review: Review) -> tuple[list[str], Rows]:
    """Columns and a row a worker; how often it was the slowest is nothing to say of a core's only one, nor is its idle
    time of one that launches on a device."""
    known = any(worker.idle_share is not None for worker in review.workers)
    rows = [
        [
            *(worker.worker_pid, worker.core_pid, worker.steps),
            *map(us, (worker.run_median_ns, worker.own_median_ns, worker.others_median_ns)),
            percent(worker.slowest_share if beside(worker, review.workers) else None),
            *[percent(worker.idle_share)] * known,
        ]
        for worker in review.workers
    ]
    return [*WORKERS, *["idle"] * known], rows


def idle_rows(kinds: Sequence[StepKind]) -> Rows:
    """A row a kind of step: the worker's idle share and what it is due to."""
    rows = []
    for kind in kinds:
        causes = ", ".join(f"{share:.1%} {name}" for name, share in kind.core_while_idle.items() if share >= 0.001)
        if kind.worker_idle_share is not None:
            rows.append([kind.kind, percent(kind.worker_idle_share), causes])
    return rows
