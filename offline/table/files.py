"""A run's tables on disk: CSV, Parquet and Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from offline.differences.difference import difference_frame
from offline.differences.run import RunDifferences
from offline.environments.environment import fact_rows
from offline.records.run import RunRecord, marks
from offline.records.runfolder import write_whole
from offline.spec.grid import column_of
from offline.table.cells import Row
from offline.table.dictionary import column_dictionary
from offline.table.differences import HEADINGS, UNDER, headline
from offline.table.frames import table_frame
from offline.table.statistics import ESTIMATOR, Drift
from probes.markdown import table as markdown_table

# Terminal and Markdown, most telling first: heading, column, digits.
SHOWN = (
    ("out tok/s", "output_tok_s", 1),
    ("TTFT p50 s", "ttft_s_p50", 3),
    ("TPOT p50 s", "tpot_s_p50", 4),
    ("latency p50 s", "latency_s_p50", 3),
    ("ITL p99 s", "itl_s_p99", 4),
    ("total tok/s", "total_tok_s", 1),
)
NO_DIFFERENCES = RunDifferences()
TOTALS = ("queue_s_p50", "prefill_s_p50", "decode_s_p50", "elapsed_s", "running_mean", "preemptions", "reference_s")
ESTIMATES = ("mbu", "mfu")
IDENTITY = (
    *("batch_size", "prefix_caching", "block_size"),
    *("cache_state", "input_len", "output_len", "shared_prefix_len", "temperature"),
)
ARM_FACTS = (
    *("effective_block_size", "kv_blocks", "kv_tokens", "kv_cache_bytes", "weights_bytes", "rest_bytes", "rss_bytes"),
    *(
        "rss_by_process",
        "unbalanced",
        "dtype",
        "attention_backend",
        "compilation_mode",
        "cudagraph_mode",
        "enforce_eager",
    ),
    *("async_scheduling", "v2_model_runner", "start_method", "distributed_executor_backend", "max_num_batched_tokens"),
    *("max_num_seqs", "overridden", "starts", "started_together", "startup_s", "startup_import_s", "startup_spawn_s"),
    *("startup_load_weights_s", "startup_profile_kv_s", "startup_warm_up_s", "startup_rest_s", "startup_note"),
    *("quantization", "parameters", "active_parameters", "kv_token_bytes", "memory_bytes_s", "matrix_flop_s"),
    *("limit_note", "greedy_agreement", "log_prob_difference", "answers_reference"),
    *("cards", "card_memory_bytes", "card_balance"),
)


def first_line(drift: Drift | None) -> str:
    """What a reader must know before any figure."""
    return drift.sentence() if drift else "No trial has been finished."


def write(
    path: Path,
    rows: Sequence[Row],
    axes: tuple[str, ...],
    drift: Drift | None,
    run: RunRecord,
    differences: RunDifferences = NO_DIFFERENCES,
) -> None:
    """Write `table.csv`, `table.parquet`, `table.md`, `columns.md`, and `differences.csv` where there are any."""
    frame = table_frame(rows)
    write_whole(path / "table.csv", frame.to_csv(index=False))
    parquet = io.BytesIO()
    frame.to_parquet(parquet, index=False)
    write_whole(path / "table.parquet", parquet.getvalue())
    write_whole(path / "table.md", markdown(rows, axes, drift, run, differences))
    if differences.rows():
        write_whole(path / "differences.csv", difference_frame(differences.rows()).to_csv(index=False))
    write_whole(path / "columns.md", column_dictionary())


def markdown(
    rows: Sequence[Row],
    axes: tuple[str, ...],
    drift: Drift | None,
    run: RunRecord,
    differences: RunDifferences = NO_DIFFERENCES,
) -> str:
    """The table for people: drift, differences, then cells with intervals, then what each arm resolved to."""
    machine = run.machine
    lines = [
        *marks(run),
        first_line(drift),
        *differences.notes,
        "",
        f"# {run.model}: {run.variant}",
        "",
        f"`{run.command_line}`",
        "",
        f"vLLM {machine.vllm} ({machine.vllm_distribution}), {machine.cpu_model}, "
        f"{machine.cores_usable} cores, {machine.memory_bytes / 2**30:.0f} GiB, GPUs: {len(machine.gpus)}; "
        f"state: {run.state}.",
        "",
        *_differences(differences),
        f"Figures: {ESTIMATOR}.",
        "",
        *_cells(rows, axes),
        "",
        "## What each arm resolved to",
        "",
        *_resolved(rows, axes),
        "",
        *_environments(run),
    ]
    return "\n".join(lines)


def _cells(rows: Sequence[Row], axes: tuple[str, ...]) -> list[str]:
    """A line a cell: what it is, and its figures with their intervals."""
    keys = [*identity(axes), "status", "trials"]
    figures = [*(column for _, column, _ in SHOWN), *TOTALS, *ESTIMATES]
    headings = [f"{name} (estimate)" if name in ESTIMATES else name for name in figures]
    return markdown_table(
        [*keys, *headings, "cached / expected", "batch histogram (running x steps)", "reason"],
        [
            [
                *map(row.get, keys),
                *(cell(row, name) for name in figures),
                cached(row),
                row.get("batch_histogram"),
                row["reason"],
            ]
            for row in rows
        ],
    )


def _resolved(rows: Sequence[Row], axes: tuple[str, ...]) -> list[str]:
    """A line a fact, a column an arm."""
    arms = {arm_name(row, axes): row for row in rows}
    lines = ([name, *(_fact(name, row.get(name)) for row in arms.values())] for name in ARM_FACTS)
    return markdown_table(["", *arms], lines)


def _environments(run: RunRecord) -> list[str]:
    """A line a package that differs, and those of the fingerprint; a column an environment."""
    if not run.environments:
        return []
    lines = [[name, *versions] for name, versions in fact_rows(run.environments).items()]
    return ["## Environments", "", *markdown_table(["", *run.environments], lines), ""]


def _differences(differences: RunDifferences) -> list[str]:
    lines = headline(differences)
    return ["## Differences", "", *markdown_table(HEADINGS, lines), "", UNDER, ""] if lines else []


def number(row: Row, column: str) -> float | None:
    """A row's value in a column of numbers."""
    value = row.get(column)
    return value if isinstance(value, (int, float)) else None


def cell(row: Row, column: str) -> str:
    """A figure of a row with its interval, as Markdown shows it."""
    mean, lo, hi = figure(row, column)
    if mean is None:
        return "n/a" if row.get("trials") else ""
    return f"{mean:.4g} (n=1)" if lo is None or hi is None else f"{mean:.4g} [{lo:.4g}, {hi:.4g}]"


def cached(row: Row) -> str:
    """Measured and expected cached tokens, with a mark where they differ."""
    measured, expected = number(row, "cached_tokens"), number(row, "expected_cached_tokens")
    if measured is None:
        return ""
    if expected is None:
        return f"{measured:.0f} / n/a"
    return f"{measured:.0f} / {expected:.0f}" + ("" if row["cache_check"] == "as expected" else " differs")


def plain(value: object) -> str:
    """A value of a cell as text, seconds with two digits."""
    if value is None or value != value:
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value)


def _fact(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**20:.0f} MiB"
    return plain(value)


def arm_name(row: Row, axes: tuple[str, ...]) -> str:
    """What tells an arm from the others, for a heading."""
    return " ".join(f"{k}={row[k]}" for k in map(column_of, axes))


def identity(axes: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys([*IDENTITY[:3], *map(column_of, axes), *IDENTITY[3:]]))


def figure(row: Row, column: str) -> tuple[float | None, float | None, float | None]:
    """A mean with the ends of its interval."""
    return number(row, column), number(row, f"{column}_lo"), number(row, f"{column}_hi")
