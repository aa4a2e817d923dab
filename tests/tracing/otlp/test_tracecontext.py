"""What the recorder notes of a request's trace: its header, and vLLM's own span."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from tests.tracing.hooks.eventrecords import numbers, texts, written
from tracing.events.layout import TRACED
from tracing.hooks import recorder
from tracing.hooks.wrappers import coroutines, tracecontext
from tracing.sites.engine import CODES, REQUEST_ID, REQUEST_SPAN

trace = pytest.importorskip("opentelemetry.trace")
TracerProvider = pytest.importorskip("opentelemetry.sdk.trace").TracerProvider

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def file() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path


def noted(path: Path) -> list[tuple[str, str, int]]:
    names = texts(path)
    return [(names[request], names[parent], own) for request, parent, own in numbers(path, TRACED)]


async def generate(
    engine: None, prompt: str, params: None, request_id: str, trace_headers: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    yield prompt


def test_the_header_of_a_call(file: Path) -> None:
    hooked = coroutines.async_generator(generate, CODES["async.generate"], (3, "request_id", None))

    async def call(name: str, headers: Mapping[str, str] | None) -> list[str]:
        return [output async for output in hooked(None, "p", None, name, trace_headers=headers)]

    assert asyncio.run(call("a", {"Traceparent": HEADER})) == ["p"]
    assert asyncio.run(call("b", None)) == asyncio.run(call("c", {"tracestate": "x=1"})) == ["p"]
    assert noted(file) == [("a", HEADER, 0)]


def test_headers_that_are_none_do_not_reach_the_engine(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = []
    monkeypatch.setattr(recorder, "fail", failures.append)
    tracecontext.note_header("a", ["traceparent"])  # type: ignore[arg-type]
    assert [type(each) for each in failures] == [AttributeError] and noted(file) == []


def test_the_engines_own_span(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracer = tracecontext.watched(lambda name, url: provider.get_tracer(name))("vllm.llm_engine", "http://host")
    tracer.start_span("of another kind", attributes={REQUEST_ID: "b"}).end()
    span = tracer.start_span(REQUEST_SPAN)
    span.set_attribute(REQUEST_ID, "a")
    span.end()
    context = span.get_span_context()
    assert noted(file) == [
        ("a", f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}", 1)
    ]


def test_a_span_without_a_request_does_not_end_the_recording(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = []
    monkeypatch.setattr(recorder, "fail", failures.append)
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracer = tracecontext.watched(lambda name: provider.get_tracer(name))("vllm.llm_engine")
    tracer.start_span(REQUEST_SPAN, attributes={"another": "b"}).end()
    assert (failures, noted(file)) == ([], [])


def test_tracing_that_is_not_there_begins_as_ever() -> None:
    assert tracecontext.watched(lambda name: None)("vllm.llm_engine") is None
