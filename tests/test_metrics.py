"""`probes.metrics`: texts as the official client writes them, and the command against a local port."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_server import NEW, OLD, Engines, serving
from probes.endpoint import endpoint
from probes.errors import EnginescopeError
from probes.exposition import Window, parse
from probes.grafana import dashboard, write
from probes.metricstable import number, percent, quantile_text, seconds, short_line
from probes.quantiles import Quantile, quantile
from probes.quantities import figures, has_any, missing

ROOT = Path(__file__).resolve().parent.parent
INF = math.inf


def window(before: str, after: str, length_s: float = 10.0) -> Window:
    """Two texts as looks `length_s` apart."""
    return Window(parse(before, 100.0), parse(after, 100.0 + length_s))


def run(*words: str, **options) -> subprocess.CompletedProcess[str]:
    """The command."""
    line = [sys.executable, "-m", "probes.metrics", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


# --- quantiles ---


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        (0.75, [(1, 10), (2, 20), (INF, 20)], Quantile(1.5, 1, 2)),
        (0.5, [(1, 10), (INF, 10)], Quantile(0.5, 0, 1)),
        (0.5, [(1, 10), (2, 20), (INF, 20)], Quantile(1.0, 0, 1)),
        (0.9, [(1, 10), (2, 10), (INF, 20)], Quantile(2, 2, INF)),
        (0.2, [(-1, 10), (2, 20), (INF, 20)], Quantile(-1, -INF, -1)),
        (0.75, [(-1, 10), (2, 20), (INF, 20)], Quantile(0.5, -1, 2)),
        (1.0, [(1, 0), (4, 8), (INF, 8)], Quantile(4.0, 1, 4)),
        (0.5, [(1, 10), (2, 8), (4, 20), (INF, 20)], Quantile(1.0, 0, 1)),  # a dent, as PromQL mends it
        (0.5, [(1, 0), (INF, 0)], None),
        (0.5, [(INF, 7)], None),
        (0.5, [(1, 3), (2, 7)], None),
        (0.5, [], None),
    ],
)
def test_quantile_as_computed_by_hand(share, buckets, expected) -> None:
    assert quantile(share, buckets) == expected


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_quantile_refuses_what_is_no_share(share) -> None:
    with pytest.raises(ValueError, match="lies in"):
        quantile(share, [(1, 1), (INF, 1)])


BOUNDS = (0.5, 1.0, 2.0, 4.0)
VALUES = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=60)


@given(VALUES, st.floats(0.01, 1.0))
def test_quantile_lies_in_the_bucket_of_the_true_one(values, share) -> None:
    buckets = [(bound, sum(value <= bound for value in values)) for bound in (*BOUNDS, INF)]
    true = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    found = quantile(share, buckets)
    assert found is not None
    assert found.lower < true <= found.upper
    assert found.lower <= found.value <= found.upper
    assert found.above == (true > BOUNDS[-1])


@given(VALUES, st.lists(st.floats(0.01, 1.0), min_size=2, max_size=2))
def test_quantiles_never_fall(values, shares) -> None:
    buckets = [(bound, sum(value <= bound for value in values)) for bound in (*BOUNDS, INF)]
    low, high = (quantile(share, buckets) for share in sorted(shares))
    assert low is not None and high is not None
    assert low.value <= high.value + 1e-12


@given(VALUES)
def test_a_scaled_histogram_has_the_same_quantiles(values) -> None:
    buckets = [(bound, sum(value <= bound for value in values)) for bound in (*BOUNDS, INF)]
    thrice = [(bound, 3 * count) for bound, count in buckets]
    for share in (0.1, 0.5, 0.99):
        one, other = quantile(share, buckets), quantile(share, thrice)
        assert one is not None and other is not None
        assert one.value == pytest.approx(other.value)


# --- two looks ---


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
    seen = figures(window(before, server.text()))
    assert (seen.running, seen.waiting, seen.kv_cache_usage) == (5, 1, 0.5)
    assert (seen.prefix_queries, seen.prefix_hits, seen.prefix_hit_rate) == (200, 150, 0.75)
    assert (seen.preemptions, seen.prompt_tokens, seen.generation_tokens) == (2, 210, 80)
    assert seen.per_second(seen.generation_tokens) == 8
    assert seen.finished == {"stop": 4, "length": 0, "abort": 1}
    itl = seen.times["itl"]
    assert itl is not None
    assert (itl.count, itl.mean_s) == (4, pytest.approx(0.095))
    assert itl.quantiles == {
        0.5: Quantile(0.025, 0.01, 0.025),
        0.9: Quantile(0.2, 0.2, INF),
        0.99: Quantile(0.2, 0.2, INF),
    }
    assert not seen.restarted


def test_an_idle_window_says_nothing_of_the_past() -> None:
    server = Engines()
    server.work()
    seen = figures(window(server.text(), server.text()))
    assert seen.prefix_hit_rate is None
    assert seen.finished == {"stop": 0, "length": 0, "abort": 0}
    assert seen.times["ttft"] is not None
    assert seen.times["ttft"].count == 0 and seen.times["ttft"].mean_s is None
    assert set(seen.times["ttft"].quantiles.values()) == {None}


def test_a_restart_counts_from_zero_even_where_a_counter_has_passed_its_old_value() -> None:
    old, new = Engines(), Engines()
    old.count(generated=100, prompt=500)
    new.count(generated=130, prompt=20)  # generated alone would look like 30 more
    seen = figures(window(old.text(), new.text()))
    assert seen.restarted
    assert (seen.generation_tokens, seen.prompt_tokens) == (130, 20)


def test_another_start_time_is_a_restart() -> None:
    text = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {}\n"
    counted = "# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total {}\n"
    seen = window(text.format(5) + counted.format(10), text.format(9) + counted.format(30))
    assert seen.restarted
    assert seen.increase("vllm:prompt_tokens_total") == 30


def test_gauges_may_fall_and_series_may_come_and_go() -> None:
    server = Engines()
    server.work()
    before = server.text()
    server.set(running=0, waiting=0, usage=0.0)
    server.finish("repetition", 2)  # a reason that the first look did not have
    seen = figures(window(before, server.text()))
    assert not seen.restarted
    assert seen.finished is not None and seen.finished["repetition"] == 2


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
    seen = figures(window(server.text(), server.text()))
    assert seen.times["tpot"] is None
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


# --- words ---


def test_figures_in_words() -> None:
    assert [seconds(value) for value in (None, 0.0, 0.00085, 0.0123, 1.85, 7680.0)] == [
        *("-", "0 µs", "850 µs", "12.3 ms", "1.85 s", "7,680 s")
    ]
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


@pytest.mark.parametrize("typed", ["ftp://host", "http://", "host:port", "http://me:secret@host:1", "host:1/?key=a"])
def test_addresses_that_are_none(typed) -> None:
    with pytest.raises(EnginescopeError) as caught:
        endpoint(typed)
    assert caught.value.code == 2
    assert "secret" not in str(caught.value)


# --- the command ---


def test_the_command_prints_deltas() -> None:
    server = Engines(("0", "1"))
    server.work("0")
    looks: list[None] = []

    def answer() -> str:
        if looks:
            server.work("0")
            server.work("1")
        looks.append(None)
        return server.text()

    with serving(answer) as url:
        done = run(url, "--seconds", "0.2")
    assert (done.returncode, done.stderr, len(looks)) == (0, "", 2)
    assert "80 of 200 prompt tokens" in done.stdout
    assert "8 (length 2, stop 6)" in done.stdout
    assert "engine 0: running 3" in done.stdout and "engine 1: running 3" in done.stdout
    assert "above 200 ms" in done.stdout


def test_json_during_a_command(tmp_path) -> None:
    server = Engines()
    mark = tmp_path / "ran"

    def answer() -> str:
        if mark.exists():
            server.work()
        return server.text()

    with serving(answer) as url:
        done = run(url, "--json", "--during", "sh", "-c", f"echo spoken; touch {mark}; exit 4")
    assert done.returncode == 3
    assert "spoken" in done.stderr and "ended with code 4" in done.stderr
    seen = json.loads(done.stdout)
    assert seen["generation_tokens"] == 64
    assert seen["times"]["itl"]["p99"] == {"value_s": 0.2, "above": True, "bucket_s": [0.2, None]}
    assert list(seen["engines"]) == ["0"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, "# TYPE up gauge\nup 1\n"), "none of vLLM's"),
        ((200, "<!DOCTYPE html>"), "not Prometheus text"),
        ((404, "nothing"), "answers 404"),
        ((500, "broken"), "answers 500"),
    ],
)
def test_no_vllm_there_is_one_line(answer, said) -> None:
    with serving(lambda: answer) as url:
        done = run(url, "--seconds", "0.1")
    assert done.returncode == 1
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_refused_is_one_line() -> None:
    done = run("127.0.0.1:9")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [("--seconds", "0"), ("--seconds", "nan"), ("--during",), ("--during", "no-such-command-here"), ("--what",)],
)
def test_bad_usage(words) -> None:
    with serving(Engines().text) as url:
        done = run(url, *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def start(*words: str, **options) -> subprocess.Popen[str]:
    """The command, still running."""
    line = [sys.executable, "-m", "probes.metrics", *words]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_watch_prints_lines_survives_a_silence_and_ends_with_ctrl_c() -> None:
    server = Engines()
    looks: list[None] = []

    def answer() -> str | tuple[int, str]:
        looks.append(None)
        server.work()
        return (503, "starting") if len(looks) == 3 else server.text()

    with serving(answer) as url:
        watching = start(url, "--watch", "--seconds", "0.2")
        assert watching.stdout is not None
        lines = [watching.stdout.readline() for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=20)
    assert watching.returncode == 0 and said == ""
    assert "finished 4 (length 1, stop 3)" in lines[0]
    assert "answers 503" in lines[1]
    assert "finished 8 (length 2, stop 6)" in lines[2]  # the window spans the silence


def test_watch_as_json_lines() -> None:
    with serving(Engines().text) as url:
        watching = start(url, "--watch", "--json", "--seconds", "0.2")
        assert watching.stdout is not None
        seen = json.loads(watching.stdout.readline())
        watching.terminate()
        watching.communicate(timeout=20)
    assert watching.returncode == 0
    assert seen["running"] == 0


def test_watch_on_a_terminal_is_live() -> None:
    import pty

    mine, theirs = pty.openpty()
    server = Engines()
    with serving(server.text) as url:
        line = [sys.executable, "-m", "probes.metrics", url, "--watch", "--seconds", "0.2"]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "140", "LINES": "50"}
        watching = subprocess.Popen(line, cwd=ROOT, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        seen = b""
        while seen.count(b"TTFT") < 2:
            seen += os.read(mine, 65536)
        watching.send_signal(signal.SIGINT)
        while True:  # the terminal must be drained for the command to end
            try:
                seen += os.read(mine, 65536)
            except OSError:
                break
        assert watching.wait(timeout=20) == 0
    os.close(mine)
    assert b"\x1b[" in seen and b"Traceback" not in seen


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_that_is_spanned(tmp_path, ending) -> None:
    mark = tmp_path / "pid"
    with serving(Engines().text) as url:
        spanning = start(url, "--during", "sh", "-c", f"sleep 100 & echo $! > {mark}.new; mv {mark}.new {mark}; wait")
        deadline = time.monotonic() + 20
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        spanning.send_signal(ending)
        _, said = spanning.communicate(timeout=20)
    assert spanning.returncode == 130 and said == "interrupted\n"
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


# --- Prometheus and Grafana ---


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard, Grafana's variables filled in."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in found]


def test_dashboard_is_whole() -> None:
    made = dashboard()
    assert json.loads(json.dumps(made)) == made
    places = [tuple(panel["gridPos"].values()) for panel in made["panels"]]
    assert len(set(places)) == len(places) == 13
    assert len({panel["id"] for panel in made["panels"]}) == 13
    text = json.dumps(made)
    for name in ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "vllm:inter_token_latency_seconds_bucket"):
        assert name in text
    assert set(re.findall(r"\$\{?(\w+)", text)) == {"source", "instance", "__rate_interval", "__all"}


def test_grafana_writes_without_asking_and_overwrites_only_when_told(tmp_path) -> None:
    folder = tmp_path / "new" / "monitoring"
    done = run("http://127.0.0.1:9/v1", "--grafana", str(folder))
    assert done.returncode == 0
    assert done.stdout == f"Wrote {folder}/prometheus.yml\nWrote {folder}/vllm-dashboard.json\n"
    assert '- targets: ["127.0.0.1:9"]' in (folder / "prometheus.yml").read_text()
    again = run("127.0.0.1:9", "--grafana", str(folder))
    assert again.returncode == 1 and "--force" in again.stderr
    assert run("127.0.0.1:9", "--grafana", str(folder), "--force").returncode == 0


def promtool() -> str:
    """Prometheus's own checker; Debian's package `prometheus` has it."""
    path = shutil.which("promtool")
    if not path:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://llm.example.org/a b/", "http://[::1]:8000"])
def test_prometheus_accepts_the_configuration(tmp_path, url) -> None:
    path = write(endpoint(url), tmp_path)[0]
    done = subprocess.run([promtool(), "check", "config", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_prometheus_accepts_every_expression(tmp_path) -> None:
    rules = [{"record": f"panel:{at}", "expr": each} for at, each in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool(), "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.slow
def test_prometheus_finds_the_same_quantile(tmp_path) -> None:
    values = (0.02, 0.02, 0.04, 0.3, 0.06, 0.12)
    server = Engines()
    server.observe("itl", *values)
    lines = [line for line in server.text().splitlines() if line.startswith("vllm:inter_token_latency_seconds_bucket")]
    pairs = [line.rsplit(" ", 1) for line in lines]
    itl = figures(window(Engines().text(), server.text())).times["itl"]
    assert itl is not None
    expected = [(share, found.value) for share, found in itl.quantiles.items() if found]
    name = "vllm:inter_token_latency_seconds_bucket"
    query = "histogram_quantile({}, sum by (le) (" + name + "))"
    tests = [
        {"expr": query.format(share), "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": value}]}
        for share, value in expected
    ]
    (tmp_path / "rules.yml").write_text('{"groups": []}')
    series = [{"series": labels, "values": f"{value}x5"} for labels, value in pairs]
    group = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [group]}))
    done = subprocess.run([promtool(), "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
