"""The page of a run in a real browser: every chart has its data, the table sorts, and text of a model stays text."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from offline.budgets.reason import Reason
from offline.differences.difference import Difference
from offline.differences.run import NOT_INTERLEAVED, Differences, RunDifferences
from offline.page.charts import knee
from offline.page.page import write
from offline.page.summary import axis_effects, effect, summary
from tests.chromium import chromium
from tests.needs import needs_chromium
from tests.offline.budgets.test_budgets import recorded
from tests.offline.reports import SPEC, a_report
from tracing.breakdown.changes import StageChange

EVIL = "<script>document.title = 'stolen'</script>"
CHARTS = ("throughput", "heat-map", "latency", "ttft", "tpot", "cold-warm", "startup", "memory", "budgets")


@needs_chromium
@pytest.mark.browser
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    write(tmp_path, a_report(model=EVIL, refusal=EVIL, extra=recorded()))
    with chromium() as page:
        page.look(390, dark=True)
        page.visit((tmp_path / "report.html").as_uri())
        for name in CHARTS:
            marks = f"document.querySelectorAll('#chart-{name} :is(.trace .point path, .trace .js-line, .hm image)')"
            sizes = page.run(f"[...{marks}].map(m => m.getBoundingClientRect()).map(r => [r.width, r.height])")
            assert any(width > 1 and height > 1 for width, height in sizes), name
        ink = "getComputedStyle(document.querySelector('#chart-latency .xtitle')).fill"
        assert page.run(ink) == page.run("getComputedStyle(document.querySelector('h1')).color")
        assert page.run("document.title") != "stolen"
        assert EVIL in page.run("document.body.innerText")
        column = "[...document.querySelectorAll('#cells th')].findIndex(h => h.innerText == 'output_tok_s')"
        button = f"document.querySelectorAll('#cells th button')[{column}]"
        values = f"[...document.querySelectorAll('#cells tbody tr')].map(r => r.cells[{column}].dataset.value)"
        for backwards in (False, True):
            page.run(f"{button}.click()")
            numbers = [float(value) for value in page.run(values) if value]
            assert len(numbers) > 1 and numbers == sorted(numbers, reverse=backwards)
        page.run("f = document.getElementById('filter'), f.value = 'warm', f.dispatchEvent(new Event('input'))")
        shown = "[...document.querySelectorAll('#cells tbody tr')].filter(r => r.offsetHeight).map(r => r.innerText)"
        rows = page.run(shown)
        assert len(rows) == 4 and all("warm" in row for row in rows)
        assert page.run("document.getElementById('count').innerText") == "4 of 14"
        assert page.complaints == []
        assert [address for address in page.requested if not address.startswith(("file:", "data:", "blob:"))] == []


def test_the_answer_comes_first() -> None:
    first, *rest = summary(a_report(gain={64: 1.2}))
    assert first.startswith("Highest throughput: ") and "block_size=64" in first
    assert any("block_size 32 → 64 (cache_state=cold): faster, 1.2" in sentence for sentence in rest)


def test_of_environments_the_answer_is_which_is_slower_and_where() -> None:
    row = Difference("vllm", "0.31.0", "0.32.0", "all", "output_tok_s", 0.8, 0.75, 0.85, 1.03, "slower")
    schedule = StageChange("schedule", 1e6, 3e6, 1.9e6, 2.1e6)
    reason = Reason(row, "request", (StageChange("all", 10e6, 12e6, 1.8e6, 2.2e6), schedule))
    differences = RunDifferences({"output_tok_s": Differences(main=(row,))})
    first, second, *rest = summary(replace(a_report(), differences=differences, reasons=(reason,)))
    assert first == "vllm 0.31.0 → 0.32.0: slower, 0.800 times the throughput (0.750 to 0.850)."
    assert second == (
        "vllm 0.31.0 → 0.32.0: slower, a recorded request takes 12.00 ms, before 10.00 ms; "
        "schedule +2.00 ms (+1.90 ms to +2.10 ms)."
    )
    assert not {first, second} & set(rest) and rest[0].startswith("Highest throughput: ")


def test_cells_are_named_by_every_axis_that_varies() -> None:
    run = a_report(spec=replace(SPEC, output_len=(8, 16), temperature=(0.0, 0.8)))
    row = run.measured[-1]
    assert run.name(row) == "block_size=64 prefix_caching=on, warm, output_len=16, temperature=0.8"
    assert run.batch_name(row) == "4, output_len=16, temperature=0.8"
    assert len(run.by_name()) == 6 * 4 and all(len(line) == 2 for line in run.by_name().values())


def test_of_many_batch_sizes_the_largest_and_the_smallest_difference_are_told() -> None:
    many = replace(SPEC, batch_size=(1, 2, 4, 8))
    sentences = [sentence for sentence in summary(a_report(spec=many)) if sentence.startswith("batch_size")]
    largest, smallest, rest = sentences
    assert largest.startswith("batch_size 1 → 8 (cache_state=") and "faster, 5.3" in largest  # 8 ** 0.8 is 5.28
    assert ": faster, 1.7" in smallest  # 2 ** 0.8 is 1.74
    assert rest.startswith("batch_size: these are the largest and the smallest of 12 that stand out from the noise; ")


@pytest.mark.parametrize(
    ("told", "which"),
    [
        (0, "none stands out from the noise"),
        (1, "this is the only one that stands out from the noise"),
        (2, "these are the largest and the smallest of 2 that stand out from the noise"),
    ],
)
def test_how_many_differences_of_an_axis_can_be_told(told: int, which: str) -> None:
    verdicts = ["faster"] * told + ["no difference seen"] * (12 - told)
    rows = [Difference("batch_size", "1", "4", "all", "output_tok_s", 2, 1, 3, 1.1, verdict) for verdict in verdicts]
    assert [*axis_effects(rows)][-1] == f"batch_size: {which}; all 12 differences are in the table."


def test_one_start_an_arm_tells_nothing_of_arms() -> None:
    sentences = summary(a_report(starts=1, gain={64: 1.2}))
    assert any("differences between arms cannot be told" in sentence for sentence in sentences)
    assert not any("block_size 32 → 64" in sentence for sentence in sentences)


def test_a_run_that_ended_before_its_second_starts_is_to_be_continued() -> None:
    once = a_report(starts=1)
    ended = replace(once, record=replace(once.record, spec=replace(once.record.spec, starts=2)))
    (sentence,) = [each for each in summary(ended) if "was started once" in each]
    assert "--resume continues it" in sentence and "--starts" not in sentence
    assert any("run again with --starts 3." in each for each in summary(once))  # of four arms


def test_one_arm_alone_or_started_twice_is_not_told_to_start_again() -> None:
    alone = replace(SPEC, block_size=(32,), prefix_caching=("off",))
    for starts in (1, 2):
        assert not any("was started once" in sentence for sentence in summary(a_report(starts=starts, spec=alone)))
    drifted = replace(a_report(gain={64: 1.2}), differences=RunDifferences(notes=(NOT_INTERLEAVED,)))
    sentences = summary(drifted)
    assert NOT_INTERLEAVED in sentences and not any("was started once" in sentence for sentence in sentences)


def test_a_refused_cell_is_in_the_summary_with_its_reason() -> None:
    assert any(
        "2 of 14 cells refused: no such block size" in s for s in summary(a_report(refusal="no such block size"))
    )


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("faster", "block_size 32 → 64: faster, 1.100 times the throughput (1.040 to 1.160)."),
        ("no difference seen", "block_size 32 → 64: no difference seen (a true one of 8.0% would have been found in "),
    ],
)
def test_an_effect_in_words(verdict: str, words: str) -> None:
    row = Difference("block_size", "32", "64", "all", "output_tok_s", 1.1, 1.04, 1.16, 1.08, verdict)
    assert effect(row).startswith(words)


def test_the_knee_is_where_throughput_a_second_of_latency_is_greatest() -> None:
    cells = [(1, 100.0, 1.0), (4, 300.0, 1.5), (8, 350.0, 3.0)]  # 100, 200 and 117 tok/s²
    rows = [{"batch_size": b, "output_tok_s": rate, "latency_s_p50": time} for b, rate, time in cells]
    best = knee(random.Random(0).sample(rows, 3))
    assert best is not None and best["batch_size"] == 4
    assert knee([]) is None
