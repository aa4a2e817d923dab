"""The report of a load run that stands by itself: its words, its charts beside it, and its place in the index."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from offline.records.resolved import UNKNOWN
from offline.records.runindex import write_index
from offline.traffic.experts import expert_rows
from offline.traffic.pages.handout import write_handout
from offline.traffic.pages.report import sections, write
from offline.traffic.results import load_results
from offline.traffic.twoservers import split_rows
from tests.offline.traffic.loadruns import BASELINE, PAGE, a_load_run

ROOT = Path(__file__).resolve().parents[3]
EVIL = "<script>a|b</script>"
RUN = "20260101-000000-aaaaaa"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three variants, with its tables, its page and its report."""
    run = a_load_run(tmp_path_factory.mktemp("results"), rates=(0.5, 2.0), requests=60, model=EVIL, workload=EVIL)
    assert write(run)[1] == run.parents[2] / "reports" / f"{RUN}.md"
    return run


def test_the_answer_comes_first_and_all_charts_stand_beside_it(run: Path) -> None:
    reports = run.parents[2] / "reports"
    text = (reports / f"{RUN}.md").read_text()
    assert text.startswith(f"# &lt;script&gt;a|b&lt;/script&gt;: load, {RUN}\n")
    assert "<script>" not in text
    assert text.index(f"\n- {BASELINE}: ") < text.index("![Normalized latency against rate]")
    charts = re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)
    assert charts == [f"{RUN}/{name}.svg" for name in ("normalized", "batch", "ttft", "tpot", "time", "gains")]
    for chart in charts:
        words = [each.text for each in ElementTree.parse(reports / chart).iter() if each.text]
        assert any(PAGE in word or "req/s" in word for word in words), chart
    assert f"| {PAGE} | one at a time | 2 |" in text and "    python -m offline.load\n" in text


def test_what_variants_resolved_to_is_told_where_it_is_known(run: Path, tmp_path: Path) -> None:
    results = load_results(run)
    up = tuple(replace(each, resolved=replace(UNKNOWN, dtype="bfloat16")) for each in results.starts)
    text = write_handout(tmp_path, replace(results, starts=up), []).read_text()
    assert "\n| dtype | bfloat16 | bfloat16 | bfloat16 |\n" in text and "| block_size |" not in text
    assert "resolved to" not in write_handout(tmp_path, results, []).read_text()


def test_a_run_that_measured_nothing_has_a_report_without_charts(run: Path, tmp_path: Path) -> None:
    none = replace(load_results(run), rates=())
    assert "![" not in write_handout(tmp_path, none, []).read_text()


def test_the_layer_whose_experts_were_asked_most_unevenly(run: Path, tmp_path: Path) -> None:
    """Layer 1 is dense and layer 2 the uneven one: of 16 tokens its busiest of four experts got 10, the mean 4."""
    results = load_results(run)
    first, *others = results.rates
    measured = replace(first.figures.measured, expert_tokens=((4, 4, 4, 4), (0, 0, 0, 0), (3, 10, 2, 1)))
    known = replace(results, rates=(replace(first, figures=replace(first.figures, measured=measured)), *others))
    assert list(expert_rows(known)) == [
        [BASELINE, "one at a time", "1", "2", "4", "16", "4", "1", "10", "2.50 times"],
    ]
    assert f"| {BASELINE} | one at a time | 1 | 2 | 4 |" in write_handout(tmp_path, known, []).read_text()
    assert [each.heading for each in sections(known, [])][-2] == "Experts"
    assert "Experts" not in {each.heading for each in sections(results, [])}


def test_how_the_time_to_first_token_splits_over_two_engines(run: Path, tmp_path: Path) -> None:
    """One at a time a request of the baseline takes 1 s, half of it to its first token; its prompt is done at 0.4 s."""
    results = load_results(run)
    first, *others = results.rates
    requests = tuple(replace(each, prefilled_ns=each.scheduled_ns + 400_000_000) for each in first.requests)
    apart = replace(results, rates=(replace(first, requests=requests), *others))
    assert list(split_rows(apart)) == [[BASELINE, "one at a time", "1", "8", "0.5000", "0.4000", "0.1000"]]
    assert "## Two engines for one request" in write_handout(tmp_path, apart, []).read_text()
    assert "Two engines for one request" in {each.heading for each in sections(apart, [])}


def test_a_runs_page_and_report_are_written_anew(tmp_path: Path) -> None:
    folder = a_load_run(tmp_path, rates=(0.5,), requests=20, starts=1)
    code, text = report_command(str(folder))
    files = (folder / "report.html", tmp_path / "reports" / f"{RUN}.md")
    assert (code, text.splitlines()) == (0, [f"Wrote {file}" for file in files]) and all(map(Path.exists, files))
    code, text = report_command("--markdown", str(folder))
    assert code == 0 and f"| {PAGE} | 0.5 | 1 |" in text


def report_command(*words: str) -> tuple[int, str]:
    """`offline.report` run to its end: exit code and what it printed."""
    process = subprocess.run([sys.executable, "-m", "offline.report", *words], capture_output=True, text=True, cwd=ROOT)
    return process.returncode, process.stdout


def test_the_index_lists_reports_by_their_titles(run: Path) -> None:
    write_index(run.parents[2])
    title = "&lt;script&gt;a|b&lt;/script&gt;: load"
    last = (run.parents[2] / "README.md").read_text().splitlines()[-1]
    assert last == f"- [{RUN}](reports/{RUN}.md): {title}, {RUN}"
