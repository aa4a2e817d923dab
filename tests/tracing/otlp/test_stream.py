"""Requests of a process that stands in for an engine, sent as they end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracing.kept.test_keeping import standing_engine
from tests.tracing.otlp.receiver import Collector, attributes, collector
from tracing.attach.engine import StandingEngine
from tracing.events.layout import BATCH, CALLED, RENAMED, TRACED, YIELDED
from tracing.hooks import _recorder
from tracing.kept.condition import parse
from tracing.kept.keeping import Keep, Keeper
from tracing.otlp import keeps
from tracing.otlp.exporter import NAME, Exporter
from tracing.otlp.stream import RequestStream
from tracing.sites.engine import CODES

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StandingEngine]:
    """This process as an engine with a ring."""
    with standing_engine(tmp_path, os.getpid()) as standing:
        yield standing


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


def span(site: str, request: str | None = None, value: int = 0, extra: int | str = 0, step: int | None = None) -> None:
    _recorder.span(CODES[site], time.monotonic_ns(), request, value, extra, step)


def begin(number: int) -> None:
    """A call of `AsyncLLM.generate`, admitted by the core."""
    name = f"request-{number}"
    span("async.generate", name, CALLED, number << 1)
    _recorder.numbers(TRACED, (name, PARENT, 0))
    _recorder.numbers(RENAMED, (f"{name}-x", name))
    span("input.assign_id", f"{name}-x")
    span("core.add_request", f"{name}-x", 5)


def end(number: int) -> None:
    """Its only step, and its output."""
    name = f"request-{number}"
    _recorder.set_step(number)
    span("scheduler.schedule", value=1)
    _recorder.batch(BATCH, {f"{name}-x": 1})
    span("scheduler.update")
    span("scheduler.free", f"{name}-x", 1, "FINISHED_STOPPED")
    _recorder.set_step(-1)
    span("async.generate", name, YIELDED, number << 1 | 1)


def names(received: Collector) -> list[str]:
    return [attributes(each)["gen_ai.request.id"] for each in received.named(NAME)]


def test_each_request_is_sent_once(engine: StandingEngine, received: Collector) -> None:
    begin(0)  # before anybody looks
    stream = RequestStream(engine, Exporter(received.url))
    stream.look()
    begin(1)
    begin(2)
    end(0)
    end(1)
    stream.look()
    assert (names(received), stream.sent, stream.left_out) == (["request-1"], 1, 1)
    end(2)
    stream.look()
    stream.look()
    assert (names(received), stream.sent, stream.left_out) == (["request-1", "request-2"], 2, 1)
    assert {each.trace_id.hex() for each in received.spans} == {PARENT.split("-")[1]}


def test_a_collector_that_comes_back_gets_what_ends_then(
    engine: StandingEngine, received: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = RequestStream(engine, Exporter(received.url))
    stream.look()
    for number, received.status in ((1, 400), (2, 200)):
        begin(number)
        end(number)
        stream.look()
    assert names(received) == ["request-2"]
    assert "did not take" in capsys.readouterr().err


def test_what_a_trigger_keeps_is_sent(engine: StandingEngine, received: Collector, tmp_path: Path) -> None:
    sender = Exporter(received.url)

    def send(folder: Path, keep: Keep) -> None:
        keeps.send(sender, folder, keep)

    keeper = Keeper(engine, [parse("latency > 50ms")], tmp_path / "kept", send)
    keeper.look()
    begin(1)
    begin(2)
    end(1)
    time.sleep(0.06)
    end(2)
    keeper.watch(time.monotonic_ns())
    keeper.look()
    assert keeper.firing is not None
    keeper.watch(time.monotonic_ns())
    assert names(received) == ["request-2"]
