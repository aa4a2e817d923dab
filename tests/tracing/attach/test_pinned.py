"""A request that runs for longer than a ring remembers: since when is written down, and goes into the trace folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tracing.kept.test_keeping import standing_engine
from tracing.attach.moved import Moved
from tracing.events import pinned
from tracing.events.pinned import PinnedRequest
from tracing.hooks import _recorder, recorder
from tracing.hooks.wrappers import pinned as wrappers

S = 1_000_000_000


class Scheduler:
    """As far as the wrappers know it."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    def add_request(self, request: SimpleNamespace) -> None:
        self.requests.append(request.request_id)

    def free_request(self, request: SimpleNamespace) -> str:
        self.requests.remove(request.request_id)
        return request.request_id


def request(name: str, age_s: float) -> SimpleNamespace:
    return SimpleNamespace(request_id=name, arrival_time=time.time() - age_s, num_prompt_tokens=len(name))


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    monkeypatch.setattr(recorder, "folder", lambda: tmp_path)
    monkeypatch.setattr(Scheduler, "add_request", wrappers.adding(Scheduler.add_request))
    monkeypatch.setattr(Scheduler, "free_request", wrappers.freeing(Scheduler.free_request))
    for known in (wrappers._live, wrappers._written):
        known.clear()
    return Scheduler()


def test_who_has_run_for_long_is_written_down_until_it_ends(scheduler: Scheduler, tmp_path: Path) -> None:
    old, new = request("a request with a space", 70), request("new", 1)
    scheduler.add_request(old)
    scheduler.add_request(request=new)
    wrappers.write()
    [(name, pin)] = pinned.read(tmp_path).items()
    assert (name, pin.prompt_tokens) == ("a request with a space", 22)
    assert 70 * S <= time.monotonic_ns() - pin.begin_ns < 80 * S
    assert scheduler.free_request(old) == name and scheduler.requests == ["new"]
    wrappers.write()
    assert pinned.read(tmp_path) == {}


def test_nothing_is_written_where_nothing_has_changed(scheduler: Scheduler, tmp_path: Path) -> None:
    scheduler.add_request(request("old", 70))
    wrappers.write()
    pinned.path_of(tmp_path, os.getpid()).unlink()
    wrappers.write()
    assert not pinned.path_of(tmp_path, os.getpid()).exists()


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "pinned-7.txt").write_text("100 5 whole\n200 6\nx y z\n")
    assert pinned.read(tmp_path) == {"whole": PinnedRequest(100, 5)}


def test_it_goes_into_the_trace_folder(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    out.mkdir()
    with standing_engine(tmp_path, os.getpid()) as engine:
        _recorder.span(1, time.monotonic_ns(), "a")
        pinned.write(engine.folder, os.getpid(), {"a": PinnedRequest(5, 3)})
        Moved(engine.folder, out).close()
    assert pinned.read(out) == {"a": PinnedRequest(5, 3)}
