"""A hook hands its calls to a function of its own while spans are written, and else lets them through."""

from __future__ import annotations

import gc
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import update_wrapper
from pathlib import Path
from typing import Any

import pytest

from tests.tracing.hooks.eventrecords import paused, written
from tracing.hooks import _recorder


class Queue:
    def put(self, item: Any, *, count: int = 1) -> tuple[Any, int]:
        """Put it so often."""
        if item == "raise":
            raise KeyError("no such item")
        return item, count


def special(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return "special", args[1:], kwargs, original(*args, **kwargs)


class HookedQueue(Queue):
    put = update_wrapper(_recorder.Hook(Queue.put, 1, special=special), Queue.put)


@pytest.fixture
def file() -> Iterator[Path]:
    with written() as path:
        yield path


@pytest.fixture(params=["before there is a file", "paused"])
def through(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    if request.param == "paused":
        with written(), paused(tmp_path / "switch"):
            yield
    else:
        yield


def test_a_call_is_handed_over_with_all_its_arguments(file: Path) -> None:
    queue = HookedQueue()
    assert queue.put(1) == ("special", (1,), {}, (1, 1))
    assert queue.put(item=1, count=2) == ("special", (), {"item": 1, "count": 2}, (1, 2))
    assert HookedQueue.put(queue, *[3], **{"count": 4}) == ("special", (3,), {"count": 4}, (3, 4))


def test_a_call_goes_through_with_all_its_arguments(through: None) -> None:
    queue = HookedQueue()
    assert queue.put(1) == (1, 1)
    assert queue.put(item=1, count=2) == (1, 2)
    assert HookedQueue.put(queue, *[3], **{"count": 4}) == (3, 4)


def test_an_exception_passes(file: Path) -> None:
    with pytest.raises(KeyError, match="no such item"):
        HookedQueue().put("raise")


def test_an_exception_passes_where_a_call_goes_through(through: None) -> None:
    with pytest.raises(KeyError, match="no such item"):
        HookedQueue().put("raise")


def test_it_looks_like_what_it_stands_for() -> None:
    assert inspect.signature(HookedQueue.put) == inspect.signature(Queue.put)
    assert HookedQueue.put.__doc__ == "Put it so often."


def test_what_is_watched_is_called_only_while_spans_are_written(tmp_path: Path) -> None:
    hook = _recorder.Hook(
        lambda: "through", 1, special=lambda watched, args, kwargs: watched(*args), watched=lambda: "watched"
    )
    with written():
        assert hook() == "watched"
        with paused(tmp_path / "switch"):
            assert hook() == "through"


def test_it_keeps_nothing_of_a_call(file: Path) -> None:
    queue, item = HookedQueue(), Queue()
    before = sys.getrefcount(item)
    queue.put(item)
    queue.put(item=item)
    assert sys.getrefcount(item) == before


def test_one_that_refers_to_itself_is_collected() -> None:
    hook = _recorder.Hook(Queue(), 1, special=special)
    hook.__dict__["itself"] = hook
    original = weakref.ref(hook.__dict__.setdefault("owner", Queue()))
    del hook
    gc.collect()
    assert original() is None
