"""Sends requests by the official SDK of OpenTelemetry: a span of each, and below it one of each part of its time."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from probes.errors import EnginescopeError, usage_error
from tracing.breakdown.requests.parts import RequestPart, parts
from tracing.otlp.parents import traceparent
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow

MOST_PARTS = 1000  # a span each; what comes after that in a request is one more, with sums
PATH = "/v1/traces"
NAME, REST = "enginescope.request", "the rest"


class Exporter:
    """An OTLP receiver, and the share of traces that it is sent; `EnginescopeError` where the SDK is not installed.

    What the SDK takes from the environment holds: `OTEL_SERVICE_NAME`, `OTEL_EXPORTER_OTLP_HEADERS`.
    """

    def __init__(self, url: str, share: float = 1.0) -> None:
        self.url = endpoint(url)
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
            from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
        except ImportError as error:
            raise EnginescopeError(f"{error}: pip install 'enginescope[otlp]' brings it") from None
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what goes wrong is said here, in a line
        service = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "enginescope")})
        provider = TracerProvider(TraceIdRatioBased(share), service, shutdown_on_exit=False)
        self._ended = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._ended))
        self._tracer = provider.get_tracer("enginescope")
        self._exporter = OTLPSpanExporter(endpoint=self.url)

    def add(self, index: Index, flow: Flow) -> bool:
        """Make the spans of a request, below its parent where it has one; whether its trace is one of the share.

        A parent that is not sampled itself has no children.
        """
        from opentelemetry.trace import get_current_span, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({"traceparent": traceparent(index.timeline, flow)})
        parent = get_current_span(context).get_span_context()
        if parent.is_valid and not parent.trace_flags.sampled:
            return False
        offset_ns = wall_offset_ns(index, flow.front_pid)
        span = self._tracer.start_span(NAME, context, start_time=flow.start_ns + offset_ns)
        if not span.is_recording():
            return False
        cut = parts(index, flow)
        span.set_attributes({**request_attributes(flow), **sums(cut)})
        below = set_span_in_context(span, context)
        for part in cut[:MOST_PARTS]:
            child = self._tracer.start_span(part.name, below, start_time=part.start_ns + offset_ns)
            child.set_attributes(part_attributes(part))
            child.end(part.end_ns + offset_ns)
        if rest := cut[MOST_PARTS:]:
            child = self._tracer.start_span(REST, below, start_time=rest[0].start_ns + offset_ns)
            child.set_attributes({**sums(rest), "enginescope.parts": len(rest)})
            child.end(flow.end_ns + offset_ns)
        span.end(flow.end_ns + offset_ns)
        return True

    def flush(self) -> None:
        """Send the spans that were made; `EnginescopeError` where the receiver does not take them: they are lost."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        spans = self._ended.get_finished_spans()
        self._ended.clear()
        if spans and self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise EnginescopeError(f"{self.url} did not take {len(spans)} spans: does a collector listen there?")


def endpoint(url: str) -> str:
    """The address that spans are sent to, from that of a collector; usage error where it is none.

    | given                   | sent to                            |
    | ----------------------- | ---------------------------------- |
    | `http://127.0.0.1:4318` | `http://127.0.0.1:4318/v1/traces`  |
    | `https://host/otlp`     | `https://host/otlp`                |
    """
    parts_of_url = urlsplit(url)
    if parts_of_url.scheme not in ("http", "https") or not parts_of_url.hostname:
        raise usage_error(f"--otlp {url!r} is no collector's address, such as http://127.0.0.1:4318 (OTLP over HTTP)")
    return url if parts_of_url.path.strip("/") else url.rstrip("/") + PATH


def share(text: str) -> float:
    """A share given as `1%` or `0.01`; usage error where it is none."""
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not 0 < number <= 1:
        raise usage_error(f"--sample {text!r} is not a share of at most 100%, such as 1% or 0.01")
    return number


def wall_offset_ns(index: Index, pid: int) -> int:
    """What to add to CLOCK_MONOTONIC for the wall clock, as a process had it when it began."""
    anchors = (process.anchor for process in index.timeline.processes if process.pid == pid and process.anchor)
    return next((anchor.ahead_ns for anchor in anchors), 0)


def request_attributes(flow: Flow) -> dict[str, str | int]:
    """What a request is; the names are those of vLLM's own spans where it has them."""
    return {
        "gen_ai.request.id": flow.external or flow.request,
        "gen_ai.usage.prompt_tokens": flow.prompt_tokens,
        "gen_ai.usage.completion_tokens": flow.output_tokens,
        "enginescope.state": flow.state,
        "enginescope.steps": len(flow.steps),
    }


def sums(cut: Sequence[RequestPart]) -> dict[str, float]:
    """Milliseconds by part, those of a whole budget in a span."""
    totals: Counter[str] = Counter()
    for part in cut:
        totals[part.name] += part.end_ns - part.start_ns
    return {f"enginescope.{name.replace(' ', '_')}_ms": ns / 1e6 for name, ns in totals.most_common()}


def part_attributes(part: RequestPart) -> dict[str, str | int]:
    """Where a part was spent."""
    known: dict[str, str | int] = {"enginescope.role": part.role, "process.pid": part.pid} if part.role else {}
    return known | ({"enginescope.step": part.step} if part.step >= 0 else {})
