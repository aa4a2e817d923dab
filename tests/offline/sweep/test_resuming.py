"""Sweeps of which not all arms fit, interrupted in the middle of a start and continued, on the stand-in for vLLM."""

from __future__ import annotations

import csv
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.offline.sweep.kills import PROGRAM, kill_and_continue
from tests.offline.sweep.sweeping import GRID, THREE_ARMS, nothing_left, only_run, records, run, start, trials
from tests.shells import until

pytestmark = pytest.mark.slow(220)
LIMIT_S = 300
TWO_FIT: dict[str, Any] = {"program": PROGRAM, "ENGINES_FIT": "2", "fake": True}
PLANNED = 2 * 2 * 2 * 2 * 2  # starts, groups of each, arms of each, cells, rounds


def groups(folder: Path) -> dict[int, dict[str, set[int]]]:
    """The engines of each arm, by its block size, in each group that measured anything."""
    names = {
        record["arm"]: record["name"].split()[0].removeprefix("block_size=") for record in records(folder, "start")
    }
    every: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for record in records(folder):
        every[record["group"]][names[record["arm"]]].add(record["engine"])
    return every


def compared(folder: Path) -> set[tuple[str, ...]]:
    """What the differences in throughput are between, and in which cells."""
    rows = csv.DictReader((folder / "differences.csv").read_text().splitlines())
    names = ("axis", "from", "to", "cell")
    return {tuple(row[name] for name in names) for row in rows if row["metric"] == "output_tok_s"}


def interrupt(out: Path, *words: str, after: int) -> None:
    """Ctrl-C once so many trials are on disk."""
    process = start(out, *words, **TWO_FIT)
    until(lambda: any(out.glob("*/*/*/run.json")) and len(trials(only_run(out))) >= after, LIMIT_S)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130 and nothing_left(), text


def test_killed_where_not_all_arms_fit_nothing_is_lost_or_run_twice_and_all_differences_are_told(
    model: str, tmp_path: Path
) -> None:
    words = ["--model", model, *THREE_ARMS]
    code, text = run(tmp_path / "undisturbed", *words, **TWO_FIT)
    assert code == 0, text
    undisturbed = only_run(tmp_path / "undisturbed")
    assert len(trials(undisturbed)) == PLANNED
    assert [set(arms) for arms in groups(undisturbed).values()].count({"32", "64"}) == 2
    kill_and_continue(tmp_path / "killed", words, trials(undisturbed), count=3, seed=3, **TWO_FIT)
    for file in (tmp_path / "killed").glob("*/*/*/*/run.json"):
        assert compared(file.parent) == compared(undisturbed)
        every = groups(file.parent).values()
        assert all("32" in arms or len(arms) == 1 for arms in every)
        engines = [engine for arms in every for each in arms.values() for engine in each]
        assert len(engines) == len(set(engines))  # two halves of a start are two starts


def test_a_start_beyond_the_plan_that_was_interrupted_is_finished_before_another_is_begun(
    model: str, tmp_path: Path
) -> None:
    words = ("--model", model, *THREE_ARMS, "--until", "0.01%", "--budget", "1h")
    interrupt(tmp_path, *words, after=PLANNED + 3)  # in the first of its two groups
    begun = {cell for cell, *_ in trials(only_run(tmp_path))[PLANNED:]}
    interrupt(tmp_path, "--resume", str(only_run(tmp_path)), after=PLANNED + 16)
    measured = records(only_run(tmp_path))
    assert len(trials(only_run(tmp_path))) == len(set(trials(only_run(tmp_path))))
    first, second = ([each for each in measured if each["trial"] // 2 == number] for number in (4, 5))
    assert len(first) == len(second) == 8 and begun <= {each["cell"] for each in first}
    assert len({each["arm"] for each in [*first, *second]}) == 3
    assert len({each["arm"] for each in first} & {each["arm"] for each in second}) == 1  # the reference
    assert len({each["group"] for each in first}) == 2  # what was left of it is another start


def test_a_complete_run_goes_on_where_a_precision_is_asked_of_it(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *GRID, "--batch-size", "1", "--repeats", "1", fake=True)
    assert code == 0, text
    folder, more = only_run(tmp_path), ("--until", "0.01%", "--budget", "1s")
    code, text = run(tmp_path, "--resume", str(folder), "--plan", fake=True)
    assert code == 0 and f"note           continues {folder}, with 2 trials measured; " in text, text
    assert "estimate       nothing is left to measure" in text
    assert len(trials(folder)) == 2
    code, text = run(tmp_path, "--resume", str(folder), *more, fake=True)
    assert code == 0 and "the budget of 1 s does not hold another start" in text, text
    assert len(trials(folder)) == len(set(trials(folder))) >= 4


def test_killed_in_a_start_that_would_be_recorded_it_is_begun_again(model: str, tmp_path: Path) -> None:
    words = ("--model", model, *GRID, "--block-size", "32", "--repeats", "1", "--trace")
    code, text = run(tmp_path, *words, **TWO_FIT, FAKE_START_S="3", KILL_AT="select:2")
    assert code == -signal.SIGKILL and (only_run(tmp_path) / "trace" / "engine-1").is_dir(), text
    code, text = run(tmp_path, "--resume", **TWO_FIT)
    assert code == 0, text
    assert [record["engine"] for record in records(only_run(tmp_path), "traced")] == [1, 1]


def test_where_the_reference_arm_is_refused_groups_share_another_one(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *THREE_ARMS, **TWO_FIT, FAKE_REFUSE_BLOCKS="32")
    assert code == 0, text
    assert ("block_size", "64", "128", "all") in compared(only_run(tmp_path))
    assert f"{len(trials(only_run(tmp_path)))}/{len(trials(only_run(tmp_path)))} " in text
