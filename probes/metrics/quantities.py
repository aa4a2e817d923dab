"""What a vLLM server counts: one table of the quantities with the names they have had, and their figures in a window.

Names of later versions come first; the first that a server has is read: a version that has both is not counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from probes.metrics.exposition import Series, Snapshot, Window
from probes.metrics.histograms import HistogramFigures, histogram
from probes.metrics.names.gauges import HOW, PID, together

ENGINE = "engine"
REASON = "finished_reason"
OF_ENGINES = ("model_name", ENGINE, PID)
ITERATION_TOKENS = "vllm:iteration_tokens_total"


@dataclass(frozen=True)
class ServerMetric:
    """One thing that a server counts: its `names`, newest first, as they stand in the text, and what it means."""

    key: str
    title: str
    names: tuple[str, ...]
    meaning: str


GAUGES = (
    ServerMetric("running", "running", ("vllm:num_requests_running",), "requests in the batches that run now"),
    ServerMetric("waiting", "waiting", ("vllm:num_requests_waiting",), "requests that wait for a place in a batch"),
    ServerMetric(
        "kv_cache_usage",
        "KV cache in use",
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        "share of the KV blocks that running requests hold",
    ),
)
COUNTERS = (
    ServerMetric(
        "prefix_queries",
        "prefix cache queries",
        ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
        "looked up in the prefix cache",
    ),
    ServerMetric(
        "prefix_hits",
        "prefix cache hits",
        ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        "found there",
    ),
    ServerMetric(
        "preemptions", "preemptions", ("vllm:num_preemptions_total",), "requests thrown out of a full KV cache"
    ),
    ServerMetric(
        "prompt_tokens", "prompt tokens", ("vllm:prompt_tokens_total",), "prompt tokens, cached ones included"
    ),
    ServerMetric("generation_tokens", "generated tokens", ("vllm:generation_tokens_total",), "tokens generated"),
    ServerMetric("finished", "finished", ("vllm:request_success_total",), "requests that ended, by reason"),
)
HISTOGRAMS = (
    ServerMetric(
        "ttft",
        "TTFT",
        ("vllm:time_to_first_token_seconds",),
        "from arrival to the first token: queue, prefill and the way out",
    ),
    ServerMetric(
        "itl",
        "inter-token latency",
        ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
        "between two outputs of a request, each counted: stalls show here",
    ),
    ServerMetric(
        "tpot",
        "TPOT",
        ("vllm:request_time_per_output_token_seconds",),
        "a request's mean time per token after the first: stalls are averaged away",
    ),
    ServerMetric("e2e", "end to end", ("vllm:e2e_request_latency_seconds",), "from arrival to the last token"),
    ServerMetric(
        "queue",
        "queue",
        ("vllm:request_queue_time_seconds", "vllm:time_in_queue_requests"),
        "waiting for a place in a batch; grows when the server is full",
    ),
    ServerMetric(
        "prefill", "prefill", ("vllm:request_prefill_time_seconds",), "from the first batch to the first token"
    ),
    ServerMetric("decode", "decode", ("vllm:request_decode_time_seconds",), "from the first token to the last"),
)
BY_KEY = {each.key: each for each in (*GAUGES, *COUNTERS, *HISTOGRAMS)}
KV_CACHE_USAGE = BY_KEY["kv_cache_usage"]
CACHE_CONFIG = "vllm:cache_config_info"


def name_in(snapshot: Snapshot, quantity: ServerMetric) -> str | None:
    """The name under which this server has `quantity`; None where it has none of them."""
    return snapshot.name_among(quantity.names, "_count" if quantity in HISTOGRAMS else "")


def missing(snapshot: Snapshot) -> list[ServerMetric]:
    """The quantities that this server does not have."""
    return [each for each in BY_KEY.values() if name_in(snapshot, each) is None]


def has_any(snapshot: Snapshot) -> bool:
    """Whether this is a vLLM server that counts at all."""
    return len(missing(snapshot)) < len(BY_KEY)


def engines(snapshot: Snapshot) -> list[str]:
    """The engines behind this server; none of versions that did not label them."""
    return snapshot.values_of(ENGINE, [name for each in GAUGES if (name := name_in(snapshot, each))])


@dataclass(frozen=True)
class WindowFigures:
    """A window in numbers, of one engine or of all. None stands for what the server does not have or cannot say.

    `running`, `waiting` and `kv_cache_usage` (a share, the mean over engines) are as of the window's end.
    `gauges` are all others too, by name, each summed, averaged or the largest over the engines, as it means.
    `prefix_unit` is what the prefix cache's queries and hits count: tokens, blocks in versions up to 0.8.
    """

    seconds: float
    restarted: bool
    running: float | None
    waiting: float | None
    kv_cache_usage: float | None
    prefix_queries: float | None
    prefix_hits: float | None
    prefix_unit: str
    preemptions: float | None
    prompt_tokens: float | None
    generation_tokens: float | None
    finished: dict[str, float] | None
    times: dict[str, HistogramFigures | None]
    tokens_per_iteration: float | None
    gauges: dict[str, float]

    @property
    def mixed(self) -> bool:
        """Whether prompts were computed beside decoding: inter-token latency then holds prefill steps too."""
        return bool(self.prompt_tokens and self.generation_tokens)

    @property
    def prefix_hit_rate(self) -> float | None:
        """The share of looked-up prompt tokens that the prefix cache had, in this window alone."""
        return self.prefix_hits / self.prefix_queries if self.prefix_queries and self.prefix_hits is not None else None

    def per_second(self, increase: float | None) -> float | None:
        """An increase of this window as a rate."""
        return None if increase is None or self.seconds <= 0 else increase / self.seconds

    def as_dict(self) -> dict[str, object]:
        """For JSON: raw increases, rates, and quantiles with the bucket that holds them (no upper end: null)."""
        values: dict[str, object] = asdict(self) | {"prefix_hit_rate": self.prefix_hit_rate, "mixed": self.mixed}
        values["prompt_tok_s"] = self.per_second(self.prompt_tokens)
        values["generation_tok_s"] = self.per_second(self.generation_tokens)
        values["times"] = {key: times and times.as_dict() for key, times in self.times.items()}
        return values


def figures(window: Window, engine: str | None = None) -> WindowFigures:
    """The window's figures: of one engine, or of all together."""
    where = {} if engine is None else {ENGINE: engine}
    gauges = {each.key: gauge(window.after, each, where) for each in GAUGES}
    counted = {
        each.key: window.increase(_name(window.after, each), where) for each in COUNTERS if each.key != "finished"
    }
    times = {each.key: histogram(window, each.names, "s", where) for each in HISTOGRAMS}
    return WindowFigures(
        window.seconds,
        window.restarted,
        **gauges,
        **counted,
        prefix_unit=_prefix_unit(window.after),
        finished=_finished(window, where),
        times=times,
        tokens_per_iteration=_tokens_per_iteration(window, where),
        gauges=every_gauge(window.after, where),
    )


def _name(snapshot: Snapshot, quantity: ServerMetric) -> str:
    """The name under which this server has `quantity`, else its newest name."""
    return name_in(snapshot, quantity) or quantity.names[0]


def gauge(snapshot: Snapshot, quantity: ServerMetric, where: Mapping[str, str] | None = None) -> float | None:
    """A gauge now, of all engines together; None where the server has none, or it is a share in an unknown unit."""
    name = _name(snapshot, quantity)
    series = snapshot.series(name, where)
    if quantity is KV_CACHE_USAGE and max(series.values(), default=0) > 1:
        return None
    return together(name, series)


def every_gauge(snapshot: Snapshot, where: Mapping[str, str] | None = None) -> dict[str, float]:
    """All gauges of vLLM's that this server has but facts (`…_info`), engines taken together: by name and by the labels
    that tell parts of one engine's figure apart, as in `vllm:num_requests_waiting_by_reason{reason="capacity"}`."""
    parts: dict[str, Series] = {}
    for name in (name for name in HOW if not name.endswith("_info")):
        for labels, value in snapshot.series(name, where).items():
            pairs = ",".join(f'{label}="{word}"' for label, word in labels if label not in OF_ENGINES)
            parts.setdefault(f"{name}{{{pairs}}}" if pairs else name, {})[labels] = value
    values = {part: together(part.partition("{")[0], series) for part, series in parts.items()}
    return {part: value for part, value in values.items() if value is not None}


def _prefix_unit(snapshot: Snapshot) -> str:
    return "blocks" if "block" in snapshot.meanings.get(_name(snapshot, BY_KEY["prefix_queries"]), "") else "tokens"


def _tokens_per_iteration(window: Window, where: Mapping[str, str]) -> float | None:
    """Mean tokens that a step of the engine computed, prompt tokens included; None where the server has no count."""
    steps = window.increase(f"{ITERATION_TOKENS}_count", where)
    tokens = window.increase(f"{ITERATION_TOKENS}_sum", where)
    return tokens / steps if steps and tokens is not None else None


def _finished(window: Window, where: Mapping[str, str]) -> dict[str, float] | None:
    name = _name(window.after, BY_KEY["finished"])
    return window.grouped(name, REASON, where) if window.after.series(name, where) else None
