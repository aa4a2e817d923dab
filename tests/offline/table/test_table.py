"""A run's tables on disk and on a terminal: nothing is lost on the way, nothing cut off, nothing taken for markup."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from offline.differences.difference import Difference
from offline.differences.run import Differences, RunDifferences
from offline.sweep.measurement import warn
from offline.table import files, terminal
from offline.table.differences import headline, terminal_differences
from offline.table.statistics import Drift
from tests.offline.runs import a_run

AXES = ("block_size", "enable_prefix_caching")
DRIFT = Drift(reference_s=0.030, starts=0.02, trials=0.04)
RUN = a_run(state="complete", command_line="python -m offline.sweep --block-size 32")
PERCENTILES = [f"{name}_s_{p}" for name in ("latency", "ttft", "tpot", "itl") for p in ("p50", "p95", "p99")]
MEASURED = ["output_tok_s", "total_tok_s", *PERCENTILES, "cached_tokens", "running_mean", "preemptions"]
RESOLVED = ["effective_block_size", "kv_blocks", "kv_tokens", "startup_s"]
PROMISED = [
    *("batch_size", "block_size", "prefix_caching", "cache_state", "status", "reason", "trials"),
    *(name + end for name in MEASURED for end in ("", "_lo", "_hi")),
    *("expected_cached_tokens", *RESOLVED),
]


def figure(name: str, mean: float, half: float) -> dict[str, float]:
    return {name: mean, f"{name}_lo": mean - half, f"{name}_hi": mean + half}


def row(batch_size: int = 16, **changes: Any) -> dict[str, Any]:
    """A cell of three trials, with figures as long as a real run has them."""
    made: dict[str, Any] = {"batch_size": batch_size, "prefix_caching": "on", "block_size": 32, "cache_state": "warm"}
    made |= {"input_len": 288, "output_len": 16, "shared_prefix_len": 256, "temperature": 0.0}
    made |= {"status": "ok", "reason": "", "trials": 3}
    for name in (*MEASURED, "queue_s_p50", "prefill_s_p50", "decode_s_p50", "elapsed_s", "reference_s"):
        made |= figure(name, 1353.04, 12.02) if "tok_s" in name else figure(name, 0.04567, 0.00321)
    made |= figure("cached_tokens", 4096.0, 0.0) | figure("running_mean", 15.25, 0.01)
    made |= {"expected_cached_tokens": 4096.0, "cache_check": "as expected", "batch_histogram": "16x15 4x1"}
    made |= {"effective_block_size": 32, "kv_blocks": 728, "kv_tokens": 23296, "startup_s": 30.25, "starts": 1}
    return made | changes


def refused(reason: str, **changes: Any) -> dict[str, Any]:
    """A cell of an arm that never came up."""
    identity = {name: value for name, value in row().items() if name in files.IDENTITY}
    cell = {"status": "refused", "reason": reason, "trials": 0, "batch_histogram": "", "cache_check": "n/a"}
    return identity | cell | {"expected_cached_tokens": None} | changes


def shown(
    rows: list[dict[str, Any]],
    width: int,
    axes: tuple[str, ...] = AXES,
    drift: Drift | None = DRIFT,
    differences: RunDifferences = files.NO_DIFFERENCES,
) -> str:
    """What a terminal of `width` columns shows."""
    out = io.StringIO()
    terminal.show(Console(width=width, file=out), rows, axes, drift, differences)
    return out.getvalue()


def words(text: str) -> list[list[str]]:
    """The words of a terminal table's rows, line by line; a legend is under them where anything was measured."""
    lines = [line for line in text.splitlines() if line.strip()]
    rule = max(number for number, line in enumerate(lines) if set(line.strip()) == {"─"})
    return [line.split() for line in itertools.takewhile(lambda line: not line.startswith("±"), lines[rule + 1 :])]


def test_three_files_with_all_rows_and_the_promised_columns(tmp_path: Path) -> None:
    rows = [row(1), row(4, cache_state="cold"), refused("ValueError: no", block_size=16)]
    files.write(tmp_path, rows, AXES, DRIFT, RUN)
    csv, parquet = pd.read_csv(tmp_path / "table.csv"), pd.read_parquet(tmp_path / "table.parquet")
    for frame in (csv, parquet):
        assert [name for name in PROMISED if name not in frame.columns] == []
        assert frame["batch_size"].tolist() == [1, 4, 16]
        assert frame["status"].tolist() == ["ok", "ok", "refused"]
        assert frame["output_tok_s_hi"].tolist()[:2] == [pytest.approx(1365.06)] * 2
    cells = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith(("| 1 |", "| 4 |"))]
    assert all("1353 [1341, 1365]" in line for line in cells) and len(cells) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["columns.md", "table.csv", "table.md", "table.parquet"]


def test_a_number_that_is_not_known_is_empty(tmp_path: Path) -> None:
    files.write(tmp_path, [row(startup_warm_up_s=None), row(startup_warm_up_s=1.5, kv_blocks=None)], AXES, DRIFT, RUN)
    parquet = pd.read_parquet(tmp_path / "table.parquet")
    assert parquet.dtypes[["startup_warm_up_s", "kv_blocks", "reason"]].map(str).tolist() == [
        "Float64",
        "Int64",
        "string",
    ]
    lines = (tmp_path / "table.csv").read_text().splitlines()
    cells = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [(cell["startup_warm_up_s"], cell["kv_blocks"]) for cell in cells] == [("", "728"), ("1.5", "")]


def test_an_axis_of_numbers_and_words_is_text(tmp_path: Path) -> None:
    files.write(tmp_path, [row(max_num_seqs=8), row(max_num_seqs="auto")], (*AXES, "max_num_seqs"), DRIFT, RUN)
    assert pd.read_parquet(tmp_path / "table.parquet")["max_num_seqs"].tolist() == ["8", "auto"]


def test_the_first_line_is_about_drift(tmp_path: Path) -> None:
    drifted = Drift(0.030, 0.5, 0.6)
    for drift in (DRIFT, drifted):
        files.write(tmp_path, [row()], AXES, drift, RUN)
        assert (tmp_path / "table.md").read_text().splitlines()[0] == drift.sentence()


def test_where_everything_was_refused_the_reason_is_the_table(tmp_path: Path) -> None:
    reason = "ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)])."
    files.write(tmp_path, [refused(reason)], AXES, None, RUN)
    for frame in (pd.read_csv(tmp_path / "table.csv"), pd.read_parquet(tmp_path / "table.parquet")):
        assert frame[["status", "reason", "trials"]].values.tolist() == [["refused", reason, 0]]
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "No trial has been finished."
    assert sum(reason in line for line in lines) == 1
    assert words(shown([refused(reason)], 80, drift=None)) == [["16", "on", "32", "warm", "refused"]]


def test_markdown_says_what_each_arm_resolved_to() -> None:
    text = files.markdown([row(1), row(4), row(1, block_size=64, startup_s=31.0)], AXES, DRIFT, RUN)
    lines = text[text.index("## What each arm") :].splitlines()
    assert lines[2] == "|  | block_size=32 prefix_caching=on | block_size=64 prefix_caching=on |"
    assert "| kv_tokens | 23296 | 23296 |" in lines
    assert "| startup_s | 30.25 | 31.00 |" in lines


def test_only_bytes_are_shown_in_mebibytes() -> None:
    text = files.markdown([row(kv_tokens=6_000_000, kv_cache_bytes=2**30)], AXES, DRIFT, RUN)
    lines = text.splitlines()
    assert "| kv_cache_bytes | 1024 MiB |" in lines
    assert "| kv_tokens | 6000000 |" in lines


IDENTITY = ["16", "on", "32", "warm"]
FIGURES = [
    *("15.2", "1353.0", "±12.0", "0.046", "±0.003", "0.0457", "±0.0032"),
    *("0.046", "±0.003", "0.0457", "±0.0032", "1353.0", "±12.0", "4096", "/", "4096"),
]


@pytest.mark.parametrize("axes", [AXES, (*AXES, "max_num_batched_tokens")])
@pytest.mark.parametrize("width", [80, 100, 130, 160])
def test_a_terminal_table_holds_every_cell_whole(width: int, axes: tuple[str, ...]) -> None:
    """A narrow terminal may get fewer columns, or a figure on two lines, but nothing cut off."""
    text = shown([row(max_num_batched_tokens=2048)], width, axes)
    assert "…" not in text
    (cells,) = words(text)
    assert max(len(line) for line in text.splitlines() if "±12.0" in line) <= width
    more = ["2048"] if len(axes) > 2 else []
    shown_figures = cells[len(IDENTITY) + len(more) : -3]
    assert shown_figures == FIGURES[: len(shown_figures)] and len(shown_figures) >= 3
    assert cells[-3:] == ["4096", "/", "4096"]


def test_a_wide_terminal_shows_all_figures() -> None:
    assert words(shown([row()], 200)) == [[*IDENTITY, *FIGURES]]


def test_a_terminal_table_shows_what_cells_differ_in() -> None:
    rows = [row(input_len=512), row(input_len=512, temperature=0.8)]
    assert [cells[:5] for cells in words(shown(rows, 200))] == [[*IDENTITY, "0.00"], [*IDENTITY, "0.80"]]


def test_the_status_has_a_heading_of_its_own_where_a_cell_is_not_whole() -> None:
    assert "status" not in shown([row()], 200)
    text = shown([row(), row(status="interrupted", reason="2 of 3 trials"), refused("no")], 200)
    (heading,) = (line for line in text.splitlines() if " status " in line)
    assert heading.index("status") < heading.index("ran")
    assert [cells[4:6] for cells in words(text)] == [["ok", "15.2"], ["interrupted", "15.2"], ["refused"]]


def test_a_large_grid_is_cut_down_to_the_fastest_arm_of_each_cell() -> None:
    sizes = (1, 2, 4, 8, 16, 32, 64)
    rows = [row(size, block_size=block, output_tok_s=float(block)) for size in sizes for block in (32, 64)]
    out = io.StringIO()
    terminal.show(Console(width=100, file=out), [*rows, refused("no")], AXES, DRIFT, every_row=False)
    assert "The fastest arm of each cell; --all and table.md have all 15 rows." in out.getvalue()
    assert [cells[:3] for cells in words(out.getvalue())] == [[str(size), "on", "64"] for size in sizes]


def test_stars_stand_at_the_best_arms_of_a_cell_and_at_none_that_nothing_is_known_of() -> None:
    warm, cold = ({"batch_size": 16, "cache_state": state} for state in ("warm", "cold"))
    best = (({"block_size": 32}, warm), ({"block_size": 64}, warm), ({"block_size": 64}, cold))
    differences = RunDifferences({"output_tok_s": Differences(best=best)})
    rows = [row(), row(block_size=64), row(block_size=128), row(cache_state="cold"), row(batch_size=8)]
    stars = [["±12.0*"], ["±12.0*"], [], [], []]
    lines = words(shown(rows, 200, differences=differences))
    assert [[cell for cell in line if cell.endswith("*")] for line in lines] == stars
    assert "*" not in "".join(map(str, words(shown(rows, 200))))


def test_differences_stand_before_the_cells() -> None:
    slower = Difference("block_size", "32", "64", "all", "output_tok_s", 0.9, 0.88, 0.93, 1.03, "slower")
    single = replace(slower, cell="batch_size=4", ratio=0.92)
    none = replace(slower, to="128", ratio=1.0, lo=0.97, hi=1.03, verdict="no difference seen")
    differences = RunDifferences({"output_tok_s": Differences((slower, none), (single,))}, ("Two groups of starts.",))
    lines = [" ".join(line.split()) for line in shown([row()], 200, differences=differences).splitlines()]
    assert lines[1] == "Two groups of starts."
    assert "block_size 32 → 64 all 0.900 0.880 to 0.930 0.92 to 0.92 slower" in lines
    assert "block_size 32 → 128 all 1.000 0.970 to 1.030 no difference seen (could have found 3.0%)" in lines


def test_a_narrow_table_of_differences_breaks_no_word() -> None:
    cell = "batch_size=16 cache_state=cold"
    wide = Difference("prefix_caching", "off", "on", cell, "output_tok_s", 4.6, 0.1, 90.1, 94.9, "no difference seen")
    out = io.StringIO()
    lines = headline(RunDifferences({"output_tok_s": Differences((wide,))}))
    Console(width=100, file=out).print(terminal_differences(lines))
    words = out.getvalue().split()
    assert {"prefix_caching", "batch_size=", "cache_state=", "cold", "90.100", "94.9)"} <= set(words)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "4096 / 4096"),
        ({"cached_tokens": 4000.0, "cache_check": "differs in 1 of 3"}, "4000 / 4096 differs"),
        ({"expected_cached_tokens": None, "cache_check": "n/a"}, "4096 / n/a"),
        ({"cached_tokens": None}, ""),
    ],
)
def test_cached_tokens_beside_the_expected_ones(changes: dict[str, Any], text: str) -> None:
    assert files.cached(row(**changes)) == text


def test_one_trial_is_said_to_be_one() -> None:
    one = row(output_tok_s=197.34, output_tok_s_lo=None, output_tok_s_hi=None)
    assert terminal.starred(one, "output_tok_s", 1, best=False) == "197.3 n=1"
    assert files.cell(one, "output_tok_s") == "197.3 (n=1)"
    assert files.cell(row(itl_s_p99=None), "itl_s_p99") == "n/a"


HOSTILE = "ValueError: [red]a|b[/red] [/bold] <b>"


def test_pipes_of_a_reason_do_not_make_columns(tmp_path: Path) -> None:
    files.write(tmp_path, [refused(HOSTILE), refused("two\nlines")], AXES, None, RUN)
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if "| refused |" in line]
    assert [len(re.split(r"(?<!\\)\|", line)) for line in lines] == [30, 30]
    assert "[red]a\\|b[/red] [/bold]" in lines[0] and "two lines" in lines[1]
    assert pd.read_csv(tmp_path / "table.csv")["reason"].tolist() == [HOSTILE, "two\nlines"]


@pytest.mark.parametrize("reason", [HOSTILE, ":100: of :smile:"])
def test_a_warning_shows_a_reason_as_it_is(reason: str) -> None:
    out = io.StringIO()
    warn([refused(reason), refused(reason), refused("other", status="failed")], Console(width=80, file=out))
    assert out.getvalue() == f"warning: 2 cells refused: {reason}\nwarning: 1 cell failed: other\n"


@pytest.mark.parametrize("value", ["[red]a", "a[/red]", ":smile:"])
def test_a_setting_is_no_markup(value: str) -> None:
    assert words(shown([row(quantization=value)], 200, (*AXES, "quantization")))[0][3] == value
