"""A vLLM server's `/metrics` without the server: its names, filled by the official client, behind a local port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0)
TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0)
ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2)
NEW = {
    "usage": "vllm:kv_cache_usage_perc",
    "queries": "vllm:prefix_cache_queries",
    "hits": "vllm:prefix_cache_hits",
    "itl": "vllm:inter_token_latency_seconds",
    "tpot": "vllm:request_time_per_output_token_seconds",
}
OLD = {
    "usage": "vllm:gpu_cache_usage_perc",
    "queries": "vllm:gpu_prefix_cache_queries",
    "hits": "vllm:gpu_prefix_cache_hits",
    "itl": "vllm:time_per_output_token_seconds",
}


class Engines:
    """The metrics of some engines, under the names of a late vLLM or (`names=OLD`) of an early one."""

    def __init__(self, engines: Sequence[str] = ("0",), names: dict[str, str] = NEW) -> None:
        self.registry = CollectorRegistry()
        self.names = ["model_name", "engine"]
        self.gauges = {
            "running": self._make(Gauge, "vllm:num_requests_running"),
            "waiting": self._make(Gauge, "vllm:num_requests_waiting"),
            "usage": self._make(Gauge, names["usage"]),
        }
        self.counters = {
            "queries": self._make(Counter, names["queries"]),
            "hits": self._make(Counter, names["hits"]),
            "preemptions": self._make(Counter, "vllm:num_preemptions"),
            "prompt": self._make(Counter, "vllm:prompt_tokens"),
            "generated": self._make(Counter, "vllm:generation_tokens"),
        }
        self.finished = self._make(Counter, "vllm:request_success", more=["finished_reason"])
        self.times = {
            "ttft": self._make(Histogram, "vllm:time_to_first_token_seconds", TTFT),
            "e2e": self._make(Histogram, "vllm:e2e_request_latency_seconds", LATENCY),
            "queue": self._make(Histogram, "vllm:request_queue_time_seconds", LATENCY),
            "prefill": self._make(Histogram, "vllm:request_prefill_time_seconds", LATENCY),
            "decode": self._make(Histogram, "vllm:request_decode_time_seconds", LATENCY),
            **{key: self._make(Histogram, names[key], ITL) for key in ("itl", "tpot") if key in names},
        }
        for engine in engines:  # as vLLM does: every series is there from the start, at zero
            for metric in (*self.gauges.values(), *self.counters.values(), *self.times.values()):
                metric.labels("m", engine)
            for reason in ("stop", "length", "abort"):
                self.finished.labels("m", engine, reason)

    def _make(self, kind, name, buckets=None, more=()):
        options = {"buckets": buckets} if buckets else {}
        return kind(name, "help", [*self.names, *more], registry=self.registry, **options)

    def count(self, engine: str = "0", **by: float) -> None:
        """Let counters grow."""
        for key, amount in by.items():
            self.counters[key].labels("m", engine).inc(amount)

    def set(self, engine: str = "0", **to: float) -> None:
        """Set gauges."""
        for key, value in to.items():
            self.gauges[key].labels("m", engine).set(value)

    def observe(self, key: str, *values_s: float, engine: str = "0") -> None:
        """Add times to a histogram."""
        for value_s in values_s:
            self.times[key].labels("m", engine).observe(value_s)

    def finish(self, reason: str, count: int = 1, engine: str = "0") -> None:
        """Let requests end."""
        self.finished.labels("m", engine, reason).inc(count)

    def work(self, engine: str = "0") -> None:
        """A little of everything."""
        self.count(engine, queries=100, hits=40, prompt=120, generated=64, preemptions=1)
        self.set(engine, running=3, waiting=2, usage=0.25)
        self.finish("stop", 3, engine)
        self.finish("length", 1, engine)
        for key in self.times:
            self.observe(key, 0.03, 0.05, 0.07, 0.4, engine=engine)

    def text(self) -> str:
        """What the server would answer."""
        return generate_latest(self.registry).decode()


@contextmanager
def serving(answer: Callable[[], str | tuple[int, str]]) -> Iterator[str]:
    """Serve what `answer` gives, anew for each request, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            response = answer()
            code, text = response if isinstance(response, tuple) else (200, response)
            body = text.encode()
            self.send_response(code if self.path == "/metrics" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
