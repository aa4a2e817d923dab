"""The tables and the page of a load run whose servers have known capacities, the page in a real browser."""

from __future__ import annotations

import re
from dataclasses import replace
from math import nan
from pathlib import Path

import pandas as pd
import pytest

from offline.load.records import MeasuredRate, ServedRequest, StepLine, VariantStart
from offline.records.lines import ProcessMemory
from offline.records.resolved import UNKNOWN
from offline.traffic.backlog import Backlog
from offline.traffic.factors import factor_text, knee_factor, ratio
from offline.traffic.knee import Bracket
from offline.traffic.pages.loadcharts import load_charts, normalized_latency
from offline.traffic.pages.loadsummary import load_summary
from offline.traffic.pages.paper import paper_rows
from offline.traffic.pages.report import sections, write
from offline.traffic.pages.sidetables import side_tables
from offline.traffic.results import LoadResults, load_results
from offline.traffic.rows import SHORT_HEADINGS, RateRow, cells, rate_row, rows
from probes.columns import dictionary, markdown
from probes.statistics.intervals import Estimate
from tests.chromium import chromium
from tests.needs import needs_chromium
from tests.offline.traffic.loadruns import BASELINE, CHUNKED, PAGE, a_load_run
from tracing.events.enginephase import EnginePhase

EVIL = "<script>document.title = 'stolen'</script>"
CHARTS = ("normalized", "batch", "ttft", "tpot", "time", "gains")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Capacities of 1 and 4 req/s under 0.5, 2 and 8 req/s, two starts each."""
    return a_load_run(tmp_path_factory.mktemp("results"), model=EVIL, workload=EVIL)


@pytest.fixture(scope="module")
def lines(run: Path) -> list[str]:
    """The lines of `write`, which leaves tables and the page in the run's folder."""
    return write(run)[0]


@pytest.fixture(scope="module")
def results(run: Path) -> LoadResults:
    return load_results(run)


def test_each_variant_sustains_what_its_capacity_is(results: LoadResults) -> None:
    assert results.knee(BASELINE) == Bracket(0.5, 2.0)
    assert results.knee(PAGE) == results.knee(CHUNKED) == Bracket(2.0, 8.0)


def test_the_short_table_and_the_sentences(lines: list[str]) -> None:
    assert lines[0] == f"{BASELINE}: sustained at 0.5 req/s, not at 2 (75% wide)."
    assert lines[1].endswith("not at 8 (75% wide); 4.00 (1.00 to 16.00) times torch-baseline.")
    assert any(line.startswith("| torch-baseline | 8 | 2 | not sustained | 3630 | 0 |") for line in lines)
    assert f"The traffic is synthetic: {EVIL}." in lines


def test_every_column_of_the_table_is_explained(run: Path, lines: list[str]) -> None:
    table = pd.read_csv(run / "table.csv")
    assert list(table) == [each.name for each in dictionary(RateRow)]
    assert len(table) == 3 * 4
    explained = (run / "columns.md").read_text()
    for record in (RateRow, VariantStart, EnginePhase, MeasuredRate, ServedRequest, StepLine):
        assert markdown(record) in explained


def test_a_rate_is_a_number(run: Path, lines: list[str]) -> None:
    table = pd.read_csv(run / "table.csv").query(f"variant == '{PAGE}'")
    assert table["rate_req_s"].tolist() == pytest.approx([nan, 0.5, 2.0, 8.0], nan_ok=True)
    assert table["load"].tolist() == ["one at a time", *["at a rate"] * 3]


def test_a_run_of_one_start_claims_nothing(tmp_path: Path) -> None:
    lines, _ = write(a_load_run(tmp_path, rates=(0.5,), requests=40, starts=1))
    assert "Each variant was started once: intervals are over blocks of time, and no difference is claimed." in lines
    assert f"{PAGE}: no rate could be judged sustained or not." in lines
    assert not any("0.5 | 1 | sustained" in line for line in lines)


def test_a_rate_that_a_search_tried_again_on_a_start_is_one_start(tmp_path: Path) -> None:
    results = load_results(a_load_run(tmp_path, rates=(2.0, 2.0), requests=40, starts=1))
    (last,) = results.of(PAGE, 2.0)
    assert [each.request for each in last.requests] == list(range(40))
    row = rate_row(results, PAGE, 2.0)
    assert (row.starts, row.requests, row.spread) == (1, 40, "blocks of time, n=1")


def test_beside_the_papers(results: LoadResults) -> None:
    """The chunked variant's first token comes later by construction, and its longest gap is shorter."""
    sustained, ttft, itl = paper_rows(results)
    assert sustained[2:] == ["4.00 (1.00 to 16.00) times", "no difference seen"]
    assert ttft[2].startswith("at 8 req/s 1.2")
    assert itl[2].startswith("at 8 req/s 0.8")


def test_beside_the_papers_stands_what_was_measured_one_at_a_time_where_there_is_nothing_else(
    results: LoadResults,
) -> None:
    alone = replace(results, rates=tuple(each for each in results.rates if each.rate_req_s is None))
    assert paper_rows(alone)[1][2].startswith("at one at a time 1.2")


def test_a_doubt_names_its_level_and_is_said_once(results: LoadResults) -> None:
    note = "a and b resolved to the same settings: their difference is chance"
    starts = tuple(replace(each, resolved=UNKNOWN) for each in results.starts)
    noted = replace(results, starts=starts, run=replace(results.run, notes=(note,)))
    late = replace(rows(results)[0], unfinished=2, late_p99_s=0.005)
    doubts = load_summary(noted, [late])
    level = f"{BASELINE} at one at a time"
    assert f"{level}: 2 of 16 requests unfinished, 0 failed; its latencies are of the others." in doubts
    assert f"{level}: the sender was late: P99 5.0 ms." in doubts
    later = replace(late, rate_req_s=4.0, late_p99_s=0.009)
    sentence = f"{BASELINE} at 4 req/s: the sender was late: P99 9.0 ms; at 1 more by more than 2 ms."
    assert [each for each in load_summary(noted, [late, later]) if "late: " in each] == [sentence]
    assert [each for each in doubts if "same settings" in each] == [note]


def test_every_row_shows_what_failed_and_how_late_the_sender_was(results: LoadResults) -> None:
    row = replace(rows(results)[0], failed=3, late_p99_s=0.00123)
    shown = dict(zip(SHORT_HEADINGS, cells(row), strict=True))
    assert (shown["failed"], shown["sent late P99 s"]) == ("3", "0.0012")


def test_what_the_figures_of_a_rate_lack_is_a_table(results: LoadResults) -> None:
    row = replace(rows(results)[0], note="P99 needs 120 s of this load, and at least 381 values")
    lacks, *_ = side_tables(results, [row, replace(row, note="")])
    assert (lacks.title, lacks.lines) == ("What the figures lack", ([row.variant, row.rate, row.note],))


def test_the_line_of_a_variant_goes_up_the_rates_and_a_search_says_that_they_last_differently_long(
    results: LoadResults,
) -> None:
    for line in normalized_latency(results, rows(results)[::-1]).data:
        assert list(line.x) == sorted(line.x)
    searched = replace(results, run=replace(results.run, spec=replace(results.run.spec, knee=True)))
    abouts = [next(load_charts(each, rows(each))).about for each in (results, searched)]
    assert [about.count("last differently long") for about in abouts] == [0, 1]


def test_rates_with_too_few_requests_are_counted_and_what_it_takes_is_said(results: LoadResults) -> None:
    few = Backlog(requests=12, growth=1.0, late_growth=0.5, spread=1.0, peak=3, scatter=1.0)
    result = next(each for each in results.rates if each.figures.backlog)
    short = replace(results, rates=(replace(result, figures=replace(result.figures, backlog=few)),))
    sentence = "Rates that are undecided for want of requests: 1; to call one sustained takes up to 1,452 "
    assert f"{sentence}(--knee sends as many, or a longer --duration)." in load_summary(short, rows(short))
    searched = replace(short, run=replace(short.run, spec=replace(short.run.spec, knee=True)))
    for others in (results, searched):
        assert not any("for want of requests" in each for each in load_summary(others, rows(others)))


def test_why_most_requests_of_a_level_failed_is_said_with_their_number(results: LoadResults) -> None:
    first, *others = results.rates
    errors = ("MemoryError: full", "ValueError: odd", "MemoryError: full")
    requests = tuple(replace(each, error=error) for each, error in zip(first.requests, errors, strict=False))
    failing = replace(results, rates=(replace(first, requests=requests), *others))
    doubts = load_summary(failing, [replace(rows(results)[0], failed=3)])
    assert any("0 of 16 requests unfinished, 3 failed (MemoryError: full); its latencies" in each for each in doubts)


def test_a_level_whose_client_had_no_processor_is_named(results: LoadResults) -> None:
    first, *others = results.rates
    measured = first.figures.measured
    half = replace(measured, starved_ns=(measured.closed_ns - measured.begin_ns) // 2)
    starving = replace(first, figures=replace(first.figures, measured=half))
    starved = replace(results, rates=(starving, *others))
    words = "the thread receiving tokens waited for a processor 50.00% of the time; latencies include that"
    assert [each for each in load_summary(starved, rows(starved)) if each.endswith(f": {words}.")]
    assert words in next(row.note for row in rows(starved) if row.variant == measured.variant)
    assert not [each for each in load_summary(results, rows(results)) if "for a processor" in each]


def test_a_level_whose_first_steps_were_overwritten_is_named(results: LoadResults) -> None:
    first, *others = results.rates
    cut = replace(first.figures.measured, steps_lost=1234)
    lossy = replace(results, rates=(replace(first, figures=replace(first.figures, measured=cut)), *others))
    words = "its first 1,234 steps were overwritten: batch and KV use not known"
    doubts = [each for each in load_summary(lossy, rows(lossy)) if "overwritten" in each]
    assert doubts == [f"{BASELINE} at one at a time, start 1: {words}."]


def test_a_baseline_without_any_output_has_no_factor(results: LoadResults) -> None:
    none = Estimate(0.0, None, None)
    rates = tuple(
        replace(each, figures=replace(each.figures, output_tok_s=none)) if each.variant == BASELINE else each
        for each in results.rates
    )
    sentence = next(each for each in load_summary(replace(results, rates=rates), []) if f"{PAGE} reached" in each)
    assert sentence.endswith(f" output tok/s; {BASELINE} or it gave none in a start.")


GIB = 1 << 30


def test_the_workers_of_an_engine_beside_each_other(tmp_path: Path) -> None:
    """The first start has died while it came up: what its workers hold is the second's. What is not known is a dash."""
    phases = (EnginePhase("weights", 1, 0, 9, 3 * GIB, 4 * GIB), EnginePhase("weights", 2, 0, 9, 2 * GIB))
    memory = (ProcessMemory("VLLM::Worker_TP0", 1, 8 * GIB), ProcessMemory("VLLM::Worker_TP1", 2, 8 * GIB))
    died = VariantStart(PAGE, 1, "vllm", {}, state="failed", reason="no room")
    up = VariantStart(PAGE, 2, "vllm", {}, UNKNOWN, phases=phases, memory=memory, state="complete")
    run = a_load_run(tmp_path, rates=(0.5,), requests=20, starts=1)
    two = replace(load_results(run), starts=(died, up), rates=())
    section = next(each for each in sections(two, []) if each.heading == "Workers")
    columns = [re.findall("<td[^>]*>([^<]*)</td>", row) for row in str(section.body).split("<tr>")]
    assert columns[2:] == [
        [PAGE, "VLLM::Worker_TP0", "3072", "4096", "8192"],
        [PAGE, "VLLM::Worker_TP1", "2048", "-", "8192"],
    ]
    summary = load_summary(two, [])
    assert f"{PAGE}, start 2: VLLM::Worker_TP1 has 33% less memory in weights than VLLM::Worker_TP0." in summary


def test_factors_with_their_intervals() -> None:
    factor = knee_factor(Bracket(4.0, 4.4), Bracket(1.0, 1.1))
    assert factor_text(factor) == "4.00 (3.64 to 4.40)"
    assert knee_factor(Bracket(4.0, None), Bracket(1.0, 1.1)) is None
    assert ratio([2.0], [1.0]) == Estimate(2.0, None, None)
    two = ratio([2.0, 2.0], [1.0, 1.0])
    assert (two.value, two.low, two.high) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))


@needs_chromium
@pytest.mark.browser
def test_the_page_in_a_browser(run: Path, lines: list[str]) -> None:
    with chromium() as page:
        page.look(390, dark=True)
        page.visit((run / "report.html").as_uri())
        for name in CHARTS:
            points = f"document.getElementById('chart-{name}').data.reduce((n, t) => n + t.y.length, 0)"
            assert page.run(points) > 0, name
        assert page.run("document.title") != "stolen"
        text = page.run("document.body.innerText")
        assert EVIL in text and "Beside the papers" in text and "sustained at 0.5 req/s" in text
        bands = "document.getElementById('chart-normalized').layout.shapes.length"
        assert page.run(bands) == 3  # a knee's bracket of each variant
        assert page.complaints == []
        assert [address for address in page.requested if not address.startswith(("file:", "data:", "blob:"))] == []
