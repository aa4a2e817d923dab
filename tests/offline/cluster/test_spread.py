"""Tasks over places: in order, each place with one at a time, and again where a place is lost."""

from __future__ import annotations

import threading

import pytest

from offline.cluster.spread import PlaceLost, spread
from probes.errors import EnginescopeError


def test_a_place_takes_the_next_task_when_it_is_free() -> None:
    """The long task holds its place until the other has done the rest."""
    done: list[tuple[str, str]] = []
    rest = threading.Event()

    def work(task: str, place: str) -> None:
        if task == "long":
            rest.wait(10)
        done.append((task, place))
        if task == "c":
            rest.set()

    spread(("A", "B"), iter(["long", "a", "b", "c"]), work, lambda: None)
    assert [task for task, _ in done] == ["a", "b", "c", "long"]
    assert len({place for task, place in done if task != "long"}) == 1


def test_an_error_in_one_place_stops_the_others() -> None:
    stopped = threading.Event()

    def work(task: str, place: str) -> None:
        if task == "fails":
            raise EnginescopeError("no room")
        assert stopped.wait(10)

    with pytest.raises(EnginescopeError, match="no room"):
        spread(("A", "B"), iter(["long", "fails"]), work, stopped.set)
    assert stopped.is_set()


def test_what_a_lost_place_had_is_done_by_another_that_had_nothing_left_to_do() -> None:
    done: list[tuple[str, str]] = []
    others = threading.Event()

    def work(task: str, place: str) -> None:
        if place == "A":
            assert others.wait(10)
            raise PlaceLost
        done.append((task, place))
        others.set()

    spread(("A", "B"), iter(["a", "b"]), work, lambda: None)
    assert sorted(done) == [("a", "B"), ("b", "B")]


def test_with_the_last_place_gone_the_run_ends_and_says_so() -> None:
    def work(task: str, place: str) -> None:
        raise PlaceLost

    with pytest.raises(EnginescopeError, match=r"no node of this run is left; .*--resume"):
        spread(("A", "B"), iter(["a", "b", "c"]), work, lambda: None)
