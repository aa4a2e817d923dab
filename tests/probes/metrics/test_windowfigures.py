"""A window's figures: engines behind several API servers, the units of older versions, what percentiles cannot be."""

from __future__ import annotations

import pytest

from probes.metrics.exposition import Snapshot, Window, parse
from probes.metrics.quantities import figures
from probes.metrics.table import quantile_text, state_rows

PIDS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",pid="11"} 0
vllm:num_requests_running{engine="0",pid="12"} 4
vllm:num_requests_running{engine="1",pid="11"} 2
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",pid="11"} 0
vllm:kv_cache_usage_perc{engine="0",pid="12"} 0.5
vllm:kv_cache_usage_perc{engine="0",pid="13"} 0
vllm:kv_cache_usage_perc{engine="1",pid="11"} 0.25
"""


def test_several_api_servers_of_an_engine_are_one_engine() -> None:
    one = parse(PIDS, 0.0)
    together, each = figures(Window(one, one)), figures(Window(one, one), "0")
    assert (together.running, together.kv_cache_usage) == (6, (0.5 + 0.25) / 2)
    assert (each.running, each.kv_cache_usage) == (4, 0.5)


@pytest.mark.parametrize(("words", "unit"), [("number of queried blocks", "blocks"), ("number of tokens", "tokens")])
def test_the_prefix_cache_counts_what_the_server_says(words: str, unit: str) -> None:
    name = "vllm:gpu_prefix_cache_queries_total"
    one = parse(f"# HELP {name} Queries, {words}.\n# TYPE {name} counter\n{name} 10\n", 0.0)
    [row] = [row for row in state_rows(figures(Window(one, one))) if row[0] == "prefix-cache hits"]
    assert row[2].endswith(f"prompt {unit} looked up were in the prefix cache")


def histogram(name: str, bound: float, count: int, total: float) -> str:
    lines = [
        f"# TYPE {name} histogram",
        f'{name}_bucket{{le="{bound}"}} {count}',
        f'{name}_bucket{{le="+Inf"}} {count}',
    ]
    return "\n".join([*lines, f"{name}_count {count}", f"{name}_sum {total}\n"])


def test_no_percentile_above_what_the_mean_allows() -> None:
    name = "vllm:request_queue_time_seconds"
    before, after = (parse(histogram(name, 0.3, count, count * 27.5e-6), float(count)) for count in (0, 10))
    queue = figures(Window(before, after)).times["queue"]
    assert queue is not None and {quantile_text(each) for each in queue.quantiles.values()} == {"below 300 ms"}


def test_prefill_steps_among_the_tokens_are_reported() -> None:
    def look(prompt: int, steps: int, tokens: int) -> Snapshot:
        counters = f"# TYPE vllm:prompt_tokens counter\nvllm:prompt_tokens_total {prompt}\n"
        counters += f"# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total {tokens - prompt}\n"
        return parse(counters + histogram("vllm:iteration_tokens_total", 8, steps, tokens), float(steps))

    mixed = figures(Window(look(0, 0, 0), look(500, 10, 600)))
    decode = figures(Window(look(500, 10, 600), look(500, 20, 640)))
    assert (mixed.tokens_per_iteration, mixed.mixed) == (60, True)
    assert (decode.tokens_per_iteration, decode.mixed) == (4, False)


def test_a_share_in_another_unit_is_not_known() -> None:
    one = parse("# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc 65.3\n", 0.0)
    assert figures(Window(one, one)).kv_cache_usage is None


def test_a_restart_is_noticed_where_a_proxy_left_out_the_types() -> None:
    name = "vllm:generation_tokens_total"
    window = Window(parse(f"{name} 1000\n", 0.0), parse(f"{name} 40\n", 1.0))
    assert window.restarted and figures(window).generation_tokens == 40


def test_every_gauge_that_a_server_has_is_taken_together_as_it_means() -> None:
    text = """# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 2
vllm:num_requests_waiting_by_reason{engine="1",model_name="m",reason="capacity"} 3
vllm:num_requests_waiting_by_reason{engine="1",model_name="m",reason="deferred"} 1
# TYPE vllm:spec_decode_efficiency gauge
vllm:spec_decode_efficiency{model_name="m"} 0.5
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16"} 1
"""
    look = parse(text, 0.0)
    assert figures(Window(look, look)).gauges == {
        'vllm:num_requests_waiting_by_reason{reason="capacity"}': 5,
        'vllm:num_requests_waiting_by_reason{reason="deferred"}': 1,
        "vllm:spec_decode_efficiency": 0.5,
    }
