"""Two looks at a server's metrics: what happened in between, as the official client writes it and in words."""

from __future__ import annotations

from socket import gethostname

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import EnginescopeError
from probes.metrics.endpoint import endpoint
from probes.metrics.exposition import parse
from probes.metrics.quantities import figures, has_any, missing
from probes.metrics.table import number, percent, quantile_text, seconds, short_line
from probes.statistics.buckets import Quantile
from tests.probes.metrics.metrics_server import NEW, OLD, Engines
from tests.probes.metrics.metricscommand import INF, window


@pytest.mark.parametrize("names", [NEW, OLD], ids=["new names", "old names"])
def test_a_window_holds_what_happened_in_it(names) -> None:
    server = Engines(names=names)
    server.work()  # life before the window
    before = server.text()
    server.count(queries=200, hits=150, prompt=210, generated=80, preemptions=2)
    server.set(running=5, waiting=1, usage=0.5)
    server.finish("stop", 4)
    server.finish("abort", 1)
    server.observe("itl", 0.02, 0.02, 0.04, 0.3)
    numbers = figures(window(before, server.text()))
    assert (numbers.running, numbers.waiting, numbers.kv_cache_usage) == (5, 1, 0.5)
    assert (numbers.prefix_queries, numbers.prefix_hits, numbers.prefix_hit_rate) == (200, 150, 0.75)
    assert (numbers.preemptions, numbers.prompt_tokens, numbers.generation_tokens) == (2, 210, 80)
    assert numbers.per_second(numbers.generation_tokens) == 8
    assert numbers.finished == {"stop": 4, "length": 0, "abort": 1}
    itl = numbers.times["itl"]
    assert itl is not None
    assert (itl.count, itl.mean) == (4, pytest.approx(0.095))
    assert itl.quantiles == {
        0.5: Quantile(0.025, 0.01, 0.025),
        0.9: Quantile(0.2, 0.2, INF),
        0.99: Quantile(0.2, 0.2, INF),
    }
    assert not numbers.restarted


def test_an_idle_window_says_nothing_of_the_past() -> None:
    server = Engines()
    server.work()
    numbers = figures(window(server.text(), server.text()))
    assert numbers.prefix_hit_rate is None
    assert numbers.finished == {"stop": 0, "length": 0, "abort": 0}
    assert numbers.times["ttft"] is not None
    assert numbers.times["ttft"].count == 0 and numbers.times["ttft"].mean is None
    assert set(numbers.times["ttft"].quantiles.values()) == {None}


def test_a_restart_counts_from_zero_even_where_a_counter_has_passed_its_old_value() -> None:
    old, new = Engines(), Engines()
    old.count(generated=100, prompt=500)
    new.count(generated=130, prompt=20)  # generated alone would look like 30 more
    numbers = figures(window(old.text(), new.text()))
    assert numbers.restarted
    assert (numbers.generation_tokens, numbers.prompt_tokens) == (130, 20)


def test_another_start_time_is_a_restart() -> None:
    text = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {}\n"
    counted = "# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total {}\n"
    span = window(text.format(5) + counted.format(10), text.format(9) + counted.format(30))
    assert span.restarted
    assert span.increase("vllm:prompt_tokens_total") == 30


def test_gauges_may_fall_and_series_may_come_and_go() -> None:
    server = Engines()
    server.work()
    before = server.text()
    server.set(running=0, waiting=0, usage=0.0)
    server.finish("repetition", 2)  # a reason that the first look did not have
    numbers = figures(window(before, server.text()))
    assert not numbers.restarted
    assert numbers.finished is not None and numbers.finished["repetition"] == 2


def test_engines_are_summed_and_told_apart() -> None:
    server = Engines(("0", "1"))
    before = server.text()
    server.work("0")
    server.work("1")
    server.count("1", generated=36)
    server.set("1", usage=0.75)
    both = window(before, server.text())
    assert both.after.values_of("engine", ["vllm:num_requests_running"]) == ["0", "1"]
    assert (figures(both).running, figures(both).generation_tokens) == (6, 164)
    assert figures(both).kv_cache_usage == 0.5
    assert [figures(both, name).generation_tokens for name in "01"] == [64, 100]
    assert [figures(both, name).kv_cache_usage for name in "01"] == [0.25, 0.75]
    ttft = figures(both).times["ttft"]
    assert ttft is not None and ttft.count == 8


def test_a_version_with_both_names_is_not_counted_twice() -> None:
    line = '# TYPE {0} gauge\n{0}{{engine="0"}} {1}\n'
    text = line.format("vllm:gpu_cache_usage_perc", 0.4) + line.format("vllm:kv_cache_usage_perc", 0.4)
    assert figures(window(text, text)).kv_cache_usage == 0.4


def test_what_a_server_lacks_is_named_and_is_no_zero() -> None:
    server = Engines(names=OLD)
    snapshot = parse(server.text(), 0.0)
    assert [each.key for each in missing(snapshot)] == ["tpot"]
    assert has_any(snapshot)
    numbers = figures(window(server.text(), server.text()))
    assert numbers.times["tpot"] is None
    empty = "# TYPE up gauge\nup 1\n"
    assert not has_any(parse(empty, 0.0))
    assert figures(window(empty, empty)).generation_tokens is None


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE html>\n<html></html>", '{"detail": "Not Found"}', 'a{b="c} 1\n', "a one\n"]
)
def test_other_text_is_refused(text) -> None:
    with pytest.raises(EnginescopeError, match="not Prometheus text"):
        parse(text, 0.0)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text) -> None:
    try:
        parse(text, 0.0)
    except EnginescopeError as error:
        assert "\n" not in str(error)


def test_figures_in_words() -> None:
    assert [seconds(value) for value in (None, 0.0, 0.00085, 0.0123, 1.85, 7680.0)] == [
        *("-", "0 µs", "850 µs", "12.3 ms", "1.85 s", "7,680 s")
    ]
    assert [seconds(value) for value in (0.0009996, 0.9994, 0.9996, 999.7)] == ["1 ms", "999 ms", "1 s", "1,000 s"]
    assert [number(value) for value in (None, 0.0, 3.0, 12.345, 123456.7)] == ["-", "0", "3", "12.3", "123,457"]
    assert percent(0.1234) == "12.3 %"
    assert quantile_text(Quantile(0.2, 0.2, INF)) == "above 200 ms"
    server = Engines()
    before = server.text()
    server.work()
    assert short_line(figures(window(before, server.text()))) == (
        "running 3  waiting 2  KV 25.0 %  prefix hits 40.0 %  preempted 1  in 12 tok/s  out 6.4 tok/s  "
        "TTFT P99 490 ms  inter-token latency P99 above 200 ms  finished 4 (length 1, stop 3)"
    )


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:8000", "http://localhost:8000/metrics"),
        ("http://host:8000/v1", "http://host:8000/metrics"),
        ("http://host:8000/v1/", "http://host:8000/metrics"),
        ("https://host/llm/metrics", "https://host:443/llm/metrics"),
        ("[::1]:8000", "http://[::1]:8000/metrics"),
        ("10.0.0.1", "http://10.0.0.1:80/metrics"),
    ],
)
def test_addresses(typed, url) -> None:
    assert endpoint(typed).url == url


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("127.0.1.1", True),
        ("[::1]", True),
        ("0.0.0.0", True),  # what vLLM prints when it starts
        (gethostname(), True),
        ("192.0.2.1", False),
    ],
)
def test_which_addresses_are_of_this_machine(host: str, is_local: bool) -> None:
    assert endpoint(f"http://{host}:8000").is_local == is_local


@pytest.mark.parametrize("typed", ["ftp://host", "http://", "host:port", "http://me:secret@host:1", "host:1/?key=a"])
def test_addresses_that_are_none(typed) -> None:
    with pytest.raises(EnginescopeError) as caught:
        endpoint(typed)
    assert caught.value.code == 2
    assert "secret" not in str(caught.value)
