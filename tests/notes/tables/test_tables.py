"""Tables and charts: a synthetic run's figures are in Markdown and SVG; the committed ones are those of their JSON."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notes.tables import charts, pages
from notes.tables.__main__ import write
from notes.tables.charts import Point
from notes.tables.folders import MEANS, story, without_paths
from notes.tables.runfile import SCHEMA
from notes.tables.story import FOLDER, BudgetTable, Story, decode, encode, read
from offline.records.run import SCHEMA as run_schema
from probes.errors import EnginescopeError
from tests.tracing.stories import stream
from tests.tracing.tracerecords import recorded

ROOT = Path(__file__).resolve().parents[3]
SVG = "{http://www.w3.org/2000/svg}"
MACHINE = {
    **{"machine_id": "5ec2e7", "cpu_model": "Synthetic CPU", "cores_usable": 2, "memory_bytes": 2**34, "gpus": []},
    **{"vllm": "0.0.1", "vllm_distribution": "vllm", "torch": "1", "transformers": "1", "python": "3.11"},
    **{"enginescope": "0.1", "git_hash": None, "git_dirty": None},
}
WRITTEN_BY_BENCHES = (
    *("client.md", "costs.md", "coverage.md", "differences.md", "equal-arms.md", "hangs.md", "killed-sweeps.md"),
    *("knee.md", "planted-slowdown.md", "planted-stages.md", "ring.md", "shapes.md", "stalls.md", "token-budget.md"),
)
AXES = ("batch_size", "prefix_caching", "block_size", "cache_state")
CELLS = [  # synthetic: out tok/s with its interval, or why not
    (("1", "off", "32", "cold"), "ok", (10.0, 9.0, 11.0)),
    (("4", "off", "32", "cold"), "ok", (20.0, 15.0, 25.0)),
    (("1", "on", "32", "warm"), "ok", (30.0, -2.0, 62.0)),
    (("4", "on", "32", "warm"), "ok", (40.0, "", "")),
    (("16", "on", "32", "warm"), "refused", ("", "", "")),
]


def row(cell: tuple[str, ...], status: str, figures: tuple[object, ...]) -> dict[str, object]:
    reason = "" if status == "ok" else "cannot map /home/someone/model | too big"
    numbers = {f"{name}{end}": value for name in MEANS for end, value in zip(("", "_lo", "_hi"), figures, strict=True)}
    return {**dict(zip(AXES, cell, strict=True)), "status": status, "reason": reason, "trials": 3, **numbers}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A synthetic run folder, in the layout that `python -m offline.sweep` leaves."""
    folder = tmp_path / "synthetic-run"
    folder.mkdir()
    course = {"began": "2026-01-02T03:04:05+0000", "state": "complete"}
    command = "python -m offline.sweep --model ~/.cache/x/m --out /tmp/someone/out"
    (folder / "run.json").write_text(
        json.dumps(
            {"schema": SCHEMA, "model": "synthetic/model", "variant": "default", "command_line": command}
            | {"machine": MACHINE, **course}
        )
    )
    (folder / "table.md").write_text("Drift inside its bound of 10%: synthetic.\n\n# more\n")
    rows = [row(*cell) for cell in CELLS]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_a_run_of_another_schema_is_refused_by_its_number(run: Path) -> None:
    assert run_schema == SCHEMA
    values = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(values | {"schema": 2}))
    with pytest.raises(EnginescopeError, match=f"has schema 2, this version reads {SCHEMA}: measure again"):
        story(run)


def files(folder: Path, out: Path) -> dict[str, str]:
    """What is written for a folder, by suffix."""
    table = story(folder)
    return {path.suffix: path.read_text() for path in write({table.origin.name: table}, out) if path.stem != "README"}


def test_markdown_says_what_the_table_says(run: Path, tmp_path: Path) -> None:
    page = files(run, tmp_path / "out")[".md"]
    for words in (
        "Synthetic CPU, 2 cores, 16 GiB, no GPU",
        "vLLM 0.0.1 (vllm)",
        "Drift inside its bound",
        "2026-01-02",
    ):
        assert words in page
    assert "| 4 | off | 32 | cold | 3 | 20 [15, 25] |" in page
    assert "| 4 | on | 32 | warm | 3 | 40 (n=1) |" in page
    assert "| 16 | on | 32 | warm | refused | cannot map model \\| too big |" in page
    assert "`python -m offline.sweep --model m --out out`" in page


def test_chart_has_the_points_of_the_table_and_their_bars(run: Path, tmp_path: Path) -> None:
    svg = ET.fromstring(files(run, tmp_path / "out")[".svg"])
    titles = [title.text for title in svg.iter(f"{SVG}title")][1:]
    assert titles == [
        "caching off, cache cold, 1: 10 [9, 11]",
        "caching off, cache cold, 4: 20 [15, 25]",
        "caching on, cache warm, 1: 30 [-2, 62]",
        "caching on, cache warm, 4: 40 n=1",
    ]
    assert len([each for each in svg.iter(f"{SVG}path") if each.get("class") == "whisker"]) == 3
    words = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"output tok/s", "batch size (log scale)", "block size 32", "caching on, cache warm"} <= set(words)


def test_nothing_names_a_place_or_this_machine(run: Path, tmp_path: Path) -> None:
    for text in files(run, tmp_path / "out").values():
        assert not re.search(r"/home|/tmp|~/|someone|5ec2e7", text)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("--out /a/b/c", "--out c"),
        ("--out=~/x/y", "--out=y"),
        ("python tests/engine/traced/streams.py ../m org/name", "python tests/engine/traced/streams.py ../m org/name"),
        ("'/a b/c' http://host/x", "'a b/c' http://host/x"),
    ],
)
def test_paths_lose_their_folders(line: str, shown: str) -> None:
    assert without_paths(line) == shown


def test_a_traces_chart_has_the_parts_of_its_budget(tmp_path: Path) -> None:
    stream(tmp_path / "trace", [1000 * (place + 1) for place in range(40)]).close()
    recorded(tmp_path / "trace")
    table = story(tmp_path / "trace")
    assert isinstance(table, BudgetTable)
    assert table.origin.name == "budget-synthetic" and table.requests == 1
    svg = ET.fromstring(pages.chart(table))
    widths = [float(bar.get("width", "")) for bar in svg.iter(f"{SVG}rect") if bar.get("x")]
    parts = [part for part in table.rows if part.stage != "unexplained"][: pages.LARGEST]
    scale = widths[0] / parts[0].median_ns
    assert widths[:-1] == pytest.approx([part.median_ns * scale for part in parts], abs=0.01)
    assert "| unexplained |" in pages.page(table)


@given(st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_hold_the_largest(most: float) -> None:
    ticks = charts.round_ticks(most)
    assert ticks[0] == 0 and ticks[-1] >= most * (1 - 1e-6) and 3 <= len(ticks) <= 8
    assert ticks[-2] < most


@given(st.lists(st.tuples(st.integers(1, 512), st.floats(0, 1e4), st.floats(0, 1e4)), min_size=1, max_size=9))
def test_lines_stay_inside_their_drawing(values: list[tuple[int, float, float]]) -> None:
    points = [Point(x, y, y - half, y + half) for x, y, half in values]
    svg = ET.fromstring(charts.lines({"<a>": {"b&": points}, "c": {"d": points}}, "x", "y", "note"))
    for mark in svg.iter(f"{SVG}circle"):
        assert charts.LEFT <= float(mark.get("cx", "")) <= charts.WIDTH
        assert 0 <= float(mark.get("cy", "")) <= float(svg.get("height", ""))


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, run: Path) -> None:
    with pytest.raises(EnginescopeError, match="neither a run"):
        story(tmp_path)
    (run / "run.json").write_text("{}")
    with pytest.raises(EnginescopeError, match="cannot be read: KeyError"):
        story(run)


def test_two_runs_of_one_name_are_refused(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "notes.tables", str(run), str(run), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "would replace another page" in done.stderr
    assert not (tmp_path / "out").exists()


# --- the committed ones ---

COMMITTED = read()


def test_there_are_a_sweep_and_a_trace() -> None:
    assert len({type(table) for table in COMMITTED}) == 2
    assert (FOLDER / "README.md").read_text() == pages.overview(COMMITTED)
    files = {f"{table.origin.name}{end}" for table in COMMITTED for end in (".json", ".md", ".svg")}
    present = {path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".md", ".svg")}
    assert present == files | {"README.md", *WRITTEN_BY_BENCHES}


@pytest.mark.parametrize("table", COMMITTED, ids=lambda table: table.origin.name)
def test_committed_page_and_chart_are_those_of_their_figures(table: Story) -> None:
    origin = table.origin
    page = (FOLDER / f"{origin.name}.md").read_text()
    assert page == pages.page(table)
    assert (FOLDER / f"{origin.name}.svg").read_text() == pages.chart(table)
    assert (FOLDER / f"{origin.name}.json").read_text() == encode(table)
    assert "python -m" in origin.command and origin.machine.cpu_model and origin.versions.vllm
    assert "Synthetic" not in page


def test_a_table_of_another_schema_is_refused_by_its_number() -> None:
    with pytest.raises(EnginescopeError, match="a table has schema 1, this version reads 2"):
        decode('{"schema": 1}')
