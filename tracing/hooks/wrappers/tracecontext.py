"""Which trace of OpenTelemetry a request belongs to: by the header that came with it, and by vLLM's own span of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...events.layout import TRACED
from ...sites.engine import REQUEST_ID, REQUEST_SPAN
from .. import _recorder
from .guarded import safely


def note_header(request: str | None, headers: Mapping[str, str]) -> None:
    """Write down the header of a request; one of another case is the same header."""
    if request and _recorder.writing():
        safely(_note_header, request, headers)


def _note_header(request: str, headers: Mapping[str, str]) -> None:
    if parent := next((text for name, text in headers.items() if name.lower() == "traceparent"), None):
        _recorder.numbers(TRACED, (request, parent, 0))


def watched(original: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of what begins vLLM's tracing: each of its spans of a request is then written down."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tracer = original(*args, **kwargs)
        if tracer is not None:
            safely(_watch_spans)
        return tracer

    return wrapper


def _watch_spans() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

    class RequestSpans(SpanProcessor):
        """Sees vLLM's spans as they end."""

        def on_end(self, span: ReadableSpan) -> None:
            if span.name == REQUEST_SPAN and _recorder.writing():
                safely(_note_span, span)

    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.add_span_processor(RequestSpans())


def _note_span(span: Any) -> None:
    request = (span.attributes or {}).get(REQUEST_ID)
    if not request:  # another version of vLLM may leave it out
        return
    context = span.get_span_context()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    _recorder.numbers(TRACED, (request, parent, 1))
