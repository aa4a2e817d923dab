"""What other watchers left in a trace folder, as tables of the review: on a terminal, and as sections of its page."""

from __future__ import annotations

from html import escape as escape_html

from rich.console import Console

from probes.console import Rows, counted, percent, table, us
from tracing.breakdown.otherwatchers import (
    GpuStage,
    GpuSummary,
    LargestOperator,
    OperatorSummary,
    SampleSummary,
)
from tracing.breakdown.review import Review
from tracing.page import html
from tracing.page.tables import devicewaits, kernels

Section = tuple[str, str, str]  # heading, a sentence, HTML

STAGE_OPERATORS = ["stage", "in spans", "in operators", "share", "kernels", "copies"]
OPERATORS = ["stage", "name", "kind", "calls a step", "own time a step", "own time", "share"]
THREADS = ["role", "thread", "process", "samples", "working", "waiting for"]
STAGES = ["role", "stage", "samples", "seconds", "share", "working", "line"]
GPU_STAGES = ["step", "stage", "steps", "kernels", "their time", "copies", "their time", "bytes"]
GPU_SUMS = ["stage", *GPU_STAGES[3:]]
GPU_BUSY = ["GPU", "steps", "time", "busy", "idle", "in gaps over 20 µs", "gaps"]
NAME_WIDTH = 60  # of a kernel's name on a terminal


def show(review: Review, out: Console) -> None:
    """Whatever the trace folder has of them, on a terminal."""
    if review.operators:
        show_operators(review.operators, out)
    if review.samples:
        out.print()
        show_samples(review.samples, out)
    if review.gpu:
        show_gpu(review.gpu, out)
    kernels.show(review.kernels, out)


def sections(review: Review) -> list[Section]:
    """The same for the page."""
    return [
        *([_operators(review.operators)] if review.operators else []),
        *([_samples(review.samples)] if review.samples else []),
        *([_gpu(review.gpu)] if review.gpu else []),
        *kernels.sections(review.kernels),
    ]


# --- torch profiler ---


def stage_operator_rows(summary: OperatorSummary) -> Rows:
    """A row a stage: its spans' time, that of its operators, kernels and copies, and the operators' share of it."""
    rows = []
    for row in summary.stages:
        share = percent(row.operator_ns / row.span_ns) if row.span_ns else "n/a"
        rows.append([row.stage, us(row.span_ns), us(row.operator_ns), share, us(row.kernel_ns), us(row.copy_ns)])
    return rows


def operator_rows(summary: OperatorSummary) -> Rows:
    """The largest operators, kernels and copies: by stage, over all steps of the torch traces, and a step."""
    return [
        [
            *(row.stage, row.name, row.kind, *_a_step(row, summary.steps)),
            *(us(row.own_ns), percent(row.share)),
        ]
        for row in summary.rows
    ]


def _a_step(row: LargestOperator, steps: int) -> tuple[str, str]:
    """Calls and own time a step; unknown where no step was recorded."""
    return (f"{row.count / steps:,.1f}", us(row.own_ns / steps)) if steps else ("n/a", "n/a")


def show_operators(summary: OperatorSummary, out: Console) -> None:
    title = f"torch profiler: stages of {counted(summary.steps, 'step')}"
    table(out, title, STAGE_OPERATORS, stage_operator_rows(summary))
    rows = [[row[0], row[1][:NAME_WIDTH], *row[2:]] for row in operator_rows(summary)[:10]]
    table(out, "torch profiler: the largest by own time", OPERATORS, rows, (1, 2))


def _operators(summary: OperatorSummary) -> Section:
    return (
        "Operators and kernels",
        f"From the torch profiler, {counted(summary.steps, 'step')} of {counted(len(summary.files), 'file')}; the "
        "profiler slows what it watches. Operators with their own time, by the span they began in; kernels by the span "
        f"that launched them. Clocks agree within {us(summary.clock_uncertainty_ns)}.",
        html.table(STAGE_OPERATORS, stage_operator_rows(summary))
        + html.table(OPERATORS, operator_rows(summary), text=(0, 1, 2)),
    )


# --- py-spy ---


def thread_rows(summary: SampleSummary) -> Rows:
    rows = []
    for row in summary.threads:
        waits = ", ".join(f"{state} {share:.1%}" for state, share in row.waiting_for.items())
        rows.append([row.role, row.thread, row.pid, f"{row.samples:,}", f"{row.working:.1%}", waits])
    return rows


def stage_rows(summary: SampleSummary) -> Rows:
    """A row a stage, and below it one a line of it."""
    rows: Rows = []
    for row in summary.stages:
        numbers = [f"{row.samples:,}", f"{row.seconds:.2f}", f"{row.share:.1%}", f"{row.working:.0%}"]
        rows.append([row.role, row.stage, *numbers, ""])
        for at in row.lines:
            rows.append(["", "", f"{at.samples:,}", f"{at.seconds:.2f}", f"{at.share:.1%}", "", at.line])
    return rows


def show_samples(summary: SampleSummary, out: Console) -> None:
    for line in summary.head:
        out.print(line, markup=False, soft_wrap=True)
    table(out, "py-spy: who works and who waits", THREADS, thread_rows(summary), (1, 5))
    table(out, "py-spy: what the Python of each stage does", STAGES, stage_rows(summary), (1, 6))


def _samples(summary: SampleSummary) -> Section:
    head = "".join(f'<p class="faint">{escape_html(line)}</p>' for line in summary.head)
    return (
        "What the Python does",
        "From py-spy's samples while the engine served; shares are of time.",
        head
        + html.table(THREADS, thread_rows(summary), text=(0, 1, 5))
        + html.table(STAGES, stage_rows(summary), text=(0, 1, 6)),
    )


# --- the GPU, by nsys ---


def gpu_stage_rows(gpu: GpuSummary) -> Rows:
    """A row a kind of step and stage: medians over the kind's steps."""
    return [[row.kind, row.stage, row.steps, *_gpu_work(row)] for row in gpu.stages if row.steps]


def gpu_sum_rows(gpu: GpuSummary) -> Rows:
    """A row a stage: sums over the report of what belongs to no step."""
    return [[row.stage, *_gpu_work(row)] for row in gpu.stages if not row.steps]


def _gpu_work(row: GpuStage) -> list[str]:
    kernels, copies = (f"{count:,.1f}".removesuffix(".0") for count in (row.kernels, row.copies))
    return [kernels, us(row.kernel_ns), copies, us(row.copy_ns), f"{row.bytes:,.0f}"]


def gpu_busy_rows(gpu: GpuSummary) -> Rows:
    rows = []
    for row in gpu.devices:
        whole, parts = row.window_ns, (row.busy_ns, row.idle_ns, row.gap_ns)
        shares = [percent(part / whole) if whole else "n/a" for part in parts]
        rows.append([row.device, row.kind, us(whole), *shares, row.gaps])
    return rows


def show_gpu(gpu: GpuSummary, out: Console) -> None:
    title = "the GPU's work by the stage that launched it (medians a step)"
    table(out, title, GPU_STAGES, gpu_stage_rows(gpu), (1,))
    table(out, "the GPU's work outside of steps (sums)", GPU_SUMS, gpu_sum_rows(gpu))
    table(out, "busy and idle", GPU_BUSY, gpu_busy_rows(gpu), (1,))
    devicewaits.show(gpu.devices, out)


def _gpu(gpu: GpuSummary) -> Section:
    sentences = "".join(f"<p>{escape_html(devicewaits.sentence(device))}</p>" for device in gpu.devices)
    return (
        "What the GPU did, and what it waited for",
        "From Nsight Systems: kernels and copies by the stage that launched them: medians a step, and outside of steps "
        "sums.",
        sentences
        + html.table(GPU_BUSY, gpu_busy_rows(gpu), text=(0, 1))
        + (html.table(GPU_STAGES, gpu_stage_rows(gpu), text=(0, 1)) if gpu_stage_rows(gpu) else "")
        + (html.table(GPU_SUMS, gpu_sum_rows(gpu)) if gpu_sum_rows(gpu) else ""),
    )
