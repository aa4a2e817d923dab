"""What other watchers left in a trace folder, as tables of the review: on a terminal, and as sections of its page."""

from __future__ import annotations

from html import escape as escape_html
from typing import Any

from rich.console import Console
from rich.markup import escape

from probes.console import Rows, percent, table, us
from tracing.breakdown.review import Review
from tracing.page import html

Section = tuple[str, str, str]  # heading, a sentence, HTML

STAGE_OPERATORS = ["stage", "in spans", "in operators", "share", "kernels", "copies"]
OPERATORS = ["stage", "name", "kind", "calls a step", "own time a step", "own time", "share"]
THREADS = ["role", "thread", "process", "samples", "working", "waiting for"]
STAGES = ["role", "stage", "samples", "seconds", "share", "working", "line"]
GPU_STAGES = ["step", "stage", "steps", "kernels", "their time", "copies", "their time", "bytes"]
GPU_SUMS = ["stage", *GPU_STAGES[3:]]
GPU_BUSY = ["GPU", "steps", "time", "busy", "idle", "in gaps over 20 µs", "gaps"]
NAME_WIDTH = 60  # of a kernel's name on a terminal
COUNTED_CAUSES = 0.001  # of the window: smaller ones are summed up as "other"


def show(review: Review, out: Console) -> None:
    """Whatever the trace folder has of them, on a terminal."""
    if review.operators:
        show_operators(review.operators, out)
    if review.samples:
        out.print()
        show_samples(review.samples, out)
    if review.gpu:
        show_gpu(review.gpu, out)


def sections(review: Review) -> list[Section]:
    """The same for the page."""
    return [
        *([_operators(review.operators)] if review.operators else []),
        *([_samples(review.samples)] if review.samples else []),
        *([_gpu(review.gpu)] if review.gpu else []),
    ]


# --- torch profiler ---


def stage_operator_rows(found: dict[str, Any]) -> Rows:
    """A row a stage: its spans' time, that of its operators, kernels and copies, and the operators' share of it."""
    rows = []
    for row in found["stages"]:
        spent, operators = row["span_ns"], row["operator_ns"]
        share = percent(operators / spent) if spent else "n/a"
        rows.append([row["stage"], us(spent), us(operators), share, us(row["kernel_ns"]), us(row["copy_ns"])])
    return rows


def operator_rows(found: dict[str, Any]) -> Rows:
    """The largest operators, kernels and copies: by stage, over all steps of the torch traces, and a step."""
    steps = max(found["steps"], 1)
    return [
        [
            *(row["stage"], row["name"], row["kind"], f"{row['count'] / steps:,.1f}"),
            *(us(row["own_ns"] / steps), us(row["own_ns"]), percent(row["share"])),
        ]
        for row in found["rows"]
    ]


def show_operators(found: dict[str, Any], out: Console) -> None:
    table(out, f"torch profiler: stages of {found['steps']} steps", STAGE_OPERATORS, stage_operator_rows(found))
    rows = [[row[0], escape(row[1][:NAME_WIDTH]), *row[2:]] for row in operator_rows(found)[:10]]
    table(out, "torch profiler: the largest by own time", OPERATORS, rows, (1, 2))


def _operators(found: dict[str, Any]) -> Section:
    return (
        "Operators and kernels",
        f"From the torch profiler, {found['steps']} steps of {len(found['files'])} files; the profiler slows what "
        "it watches. Operators with their own time, by the span they began in; kernels by the span that launched "
        f"them. Clocks agree within {us(found['clock_uncertainty_ns'])}.",
        html.table(STAGE_OPERATORS, stage_operator_rows(found))
        + html.table(OPERATORS, operator_rows(found), text=(0, 1, 2)),
    )


# --- py-spy ---


def thread_rows(found: dict[str, Any]) -> Rows:
    rows = []
    for row in found["threads"]:
        waits = ", ".join(f"{state} {share:.1%}" for state, share in row["waiting_for"].items())
        rows.append([row["role"], row["thread"], row["pid"], f"{row['samples']:,}", f"{row['working']:.1%}", waits])
    return rows


def stage_rows(found: dict[str, Any]) -> Rows:
    """A row a stage, and below it one a line of it."""
    rows: Rows = []
    for row in found["stages"]:
        numbers = [f"{row['samples']:,}", f"{row['seconds']:.2f}", f"{row['share']:.1%}", f"{row['working']:.0%}"]
        rows.append([row["role"], row["stage"], *numbers, ""])
        for at in row["lines"]:
            rows.append(["", "", f"{at['samples']:,}", f"{at['seconds']:.2f}", f"{at['share']:.1%}", "", at["line"]])
    return rows


def show_samples(found: dict[str, Any], out: Console) -> None:
    for line in found["head"]:
        out.print(line, markup=False, soft_wrap=True)
    table(out, "py-spy: who works and who waits", THREADS, _escaped(thread_rows(found)), (1, 5))
    table(out, "py-spy: what the Python of each stage does", STAGES, _escaped(stage_rows(found)), (1, 6))


def _escaped(rows: Rows) -> Rows:
    return [[escape(str(cell)) for cell in row] for row in rows]


def _samples(found: dict[str, Any]) -> Section:
    head = "".join(f'<p class="faint">{escape_html(line)}</p>' for line in found["head"])
    return (
        "What the Python does",
        "From py-spy's samples while the engine served; shares are of time.",
        head
        + html.table(THREADS, thread_rows(found), text=(0, 1, 5))
        + html.table(STAGES, stage_rows(found), text=(0, 1, 6)),
    )


# --- the GPU, by nsys ---


def gpu_stage_rows(gpu: dict[str, Any]) -> Rows:
    """A row a kind of step and stage: medians over the kind's steps."""
    return [[r["kind"], r["stage"], r["steps"], *_gpu_work(r)] for r in gpu["stages"] if r["steps"]]


def gpu_sum_rows(gpu: dict[str, Any]) -> Rows:
    """A row a stage: sums over the report of what belongs to no step."""
    return [[r["stage"], *_gpu_work(r)] for r in gpu["stages"] if not r["steps"]]


def _gpu_work(row: dict[str, Any]) -> list[str]:
    kernels, copies = (f"{row[name]:,.1f}".removesuffix(".0") for name in ("kernels", "copies"))
    return [kernels, us(row["kernel_ns"]), copies, us(row["copy_ns"]), f"{row['bytes']:,.0f}"]


def gpu_busy_rows(gpu: dict[str, Any]) -> Rows:
    rows = []
    for d in gpu["devices"]:
        whole = d["window_ns"]
        shares = [percent(d[name] / whole) for name in ("busy_ns", "idle_ns", "gap_ns")] if whole else ["n/a"] * 3
        rows.append([d["device"], d["kind"], us(whole), *shares, d["gaps"]])
    return rows


def show_gpu(gpu: dict[str, Any], out: Console) -> None:
    stages = _escaped(gpu_stage_rows(gpu))
    table(out, "the GPU's work by the stage that launched it (medians a step)", GPU_STAGES, stages, (1,))
    sums = _escaped(gpu_sum_rows(gpu))
    table(out, "the GPU's work outside of steps (sums)", GPU_SUMS, sums)
    table(out, "busy and idle", GPU_BUSY, gpu_busy_rows(gpu), (1,))
    out.print()
    for device in gpu["devices"]:
        out.print(sentence(device), markup=False, soft_wrap=True)


def sentence(device: dict[str, Any]) -> str:
    """`GPU 0 waited 18 % of decode: 9 % schedule, 6 % detokenize on the front end, 3 % ZMQ`."""
    whole = max(device["window_ns"], 1)
    named = [(c["cause"], c["ns"] / whole) for c in device["causes"] if c["ns"] / whole >= COUNTED_CAUSES]
    other = device["gap_ns"] / whole - sum(share for _, share in named)
    if named and other >= COUNTED_CAUSES / 10:
        named.append(("other", other))
    of = "the time" if device["kind"] == "all" else device["kind"]
    causes = ", ".join(f"{share:.1%} {cause}" for cause, share in named)
    waited = f"GPU {device['device']} waited {device['gap_ns'] / whole:.1%} of {of}"
    return f"{waited}: {causes}" if causes else waited


def _gpu(gpu: dict[str, Any]) -> Section:
    told = "".join(f"<p>{escape_html(sentence(device))}</p>" for device in gpu["devices"])
    return (
        "What the GPU did, and what it waited for",
        "From Nsight Systems: kernels and copies by the stage that launched them: medians a step, and outside of steps "
        "sums.",
        told
        + html.table(GPU_BUSY, gpu_busy_rows(gpu), text=(0, 1))
        + (html.table(GPU_STAGES, gpu_stage_rows(gpu), text=(0, 1)) if gpu_stage_rows(gpu) else "")
        + (html.table(GPU_SUMS, gpu_sum_rows(gpu)) if gpu_sum_rows(gpu) else ""),
    )
