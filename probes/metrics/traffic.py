"""What clients asked of a server in a window: HTTP requests by handler and status class, and how long they were."""

from __future__ import annotations

from dataclasses import dataclass

from probes.metrics.exposition import Window
from probes.metrics.histograms import HistogramFigures, histogram
from probes.metrics.quantities import ServerMetric

HTTP_REQUESTS = "http_requests_total"  # vLLM's; its probes of health and metrics are not counted there
HANDLER, STATUS = "handler", "status"
LENGTHS = (
    ServerMetric("prompt_length", "prompt length", ("vllm:request_prompt_tokens",), "tokens of a request's prompt"),
    ServerMetric("output_length", "output length", ("vllm:request_generation_tokens",), "tokens of its answer"),
)


@dataclass(frozen=True)
class HandledRequests:
    """The requests to a path (`/v1/completions`; `none` is one that it does not have), by answers' class (`2xx`)."""

    handler: str
    by_class: dict[str, float]

    def text(self) -> str:
        """`/v1/completions 12 (2xx 10, 4xx 2)`."""
        classes = ", ".join(f"{name} {count:,.0f}" for name, count in sorted(self.by_class.items()))
        return f"{self.handler} {sum(self.by_class.values()):,.0f} ({classes})"


def handled(window: Window) -> list[HandledRequests] | None:
    """The requests of a window, the busiest handler first; None where the server does not count them."""
    if HTTP_REQUESTS not in window.after.samples:
        return None
    groups: dict[str, dict[str, float]] = {}
    for labels, count in window.increases(HTTP_REQUESTS).items():
        named = dict(labels)
        by_class = groups.setdefault(named.get(HANDLER, "none"), {})
        if count:
            name = named.get(STATUS, "?")[0] + "xx"
            by_class[name] = by_class.get(name, 0.0) + count
    requests = [HandledRequests(handler, by_class) for handler, by_class in groups.items() if by_class]
    return sorted(requests, key=lambda each: -sum(each.by_class.values()))


def lengths(window: Window) -> dict[str, HistogramFigures | None]:
    """Of the prompts and answers that ended; None where the server does not count them."""
    return {each.key: histogram(window, each.names, "tokens") for each in LENGTHS}
