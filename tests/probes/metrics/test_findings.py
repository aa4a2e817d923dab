"""What stands out in a window, on made-up texts: each finding alone, with its reason and the next command."""

from __future__ import annotations

import json
import shlex

import pytest

from probes.devices.device import Activity
from probes.devices.sampling import SampledDevice
from probes.metrics.configuration import configuration
from probes.metrics.exposition import Window, parse
from probes.metrics.findings import WindowFacts, finding_lines, findings
from probes.metrics.quantities import figures
from probes.metrics.traffic import handled, lengths
from tests.probes.metrics.metrics_server import Engines, serving
from tests.probes.metrics.metricscommand import run, window

URL = "http://h:8000"


def http(**counts: int) -> str:
    """`completions_2xx=3` as vLLM counts it."""
    lines = ["# TYPE http_requests_total counter"]
    for name, count in counts.items():
        handler, _, status = name.partition("_")
        path = "none" if handler == "none" else f"/v1/{handler}"
        lines.append(f'http_requests_total{{handler="{path}",method="POST",status="{status}"}} {count}')
    return "\n".join(lines) + "\n"


def cache_config(**labels: object) -> str:
    told = {"block_size": 16, "num_gpu_blocks": 100, "enable_prefix_caching": True, "gpu_memory_utilization": 0.9}
    told |= {"kv_cache_memory_bytes": None, "engine": 0} | labels
    pairs = ",".join(f'{name}="{value}"' for name, value in told.items())
    return f"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{pairs}}} 1\n"


def seen(server: Engines, more: str = "", devices: tuple[SampledDevice, ...] = ()) -> WindowFacts:
    """A window from a server that has done nothing yet to what it says now."""
    taken = window(Engines().text(), server.text() + more)
    return WindowFacts(URL, figures(taken), handled(taken), configuration(taken.after), devices)


def decoding() -> Engines:
    """A window without any finding: two requests decode, their prompts were computed before it."""
    server = Engines()
    server.count(generated=64)
    server.set(running=2, usage=0.25)
    return server


def test_nothing_stands_out() -> None:
    well = seen(decoding(), http(completions_2xx=3) + cache_config())
    assert findings(well) == []
    [line] = finding_lines([], with_devices=False)
    assert line.startswith("Nothing stands out: no sign of errors, requests cut short, ") and "idle" not in line
    [with_cards] = finding_lines([], with_devices=True)
    assert with_cards.endswith(", a prefix cache without hits, idle cards, prefill beside decode.")


def test_errors_by_class_and_handler() -> None:
    failed, refused = findings(seen(decoding(), http(completions_2xx=3, completions_5xx=2, tokenize_5xx=1, none_4xx=7)))
    assert (failed.name, failed.what) == ("errors 5xx", "/v1/completions 2, /v1/tokenize 1")
    assert (refused.name, refused.what) == ("errors 4xx", "none 7")
    assert failed.command == f"python -m probes.serve --url {URL}" and "its log says why" in failed.reason


def test_requests_cut_short() -> None:
    server = decoding()
    server.finish("abort", 3)
    server.finish("stop", 9)
    [cut] = findings(seen(server))
    assert (cut.name, cut.what) == ("requests cut short", "3 (abort 3)") and "the engine gave them up" in cut.reason


@pytest.mark.parametrize(("usage", "reason"), [(0.5, "a batch is at max_num_seqs"), (0.99, "the KV cache has no room")])
def test_queueing_names_what_is_waited_for(usage: float, reason: str) -> None:
    server = decoding()
    server.set(waiting=5, running=2, usage=usage)
    server.observe("queue", 0.5)
    server.observe("e2e", 2.0)
    queueing = findings(seen(server))[0]
    assert (queueing.name, queueing.what) == ("queueing", "5 wait; a request waited 500 ms of its 2 s (means)")
    assert reason in queueing.reason and queueing.command == f"python -m offline.load --base-url {URL} --knee"


def test_a_wait_of_which_no_request_has_told_yet_has_no_means() -> None:
    server = decoding()
    server.set(waiting=5, running=2)
    assert [each.what for each in findings(seen(server)) if each.name == "queueing"] == ["5 wait"]


def test_a_trace_as_the_next_step_can_be_pasted_as_it_stands() -> None:
    (server := Engines()).work()
    [mixed] = [each for each in findings(seen(server)) if each.name == "prefill beside decode"]
    assert shlex.split(mixed.command, comments=True) == ["python", "-m", "tracing.attach", URL]


def test_a_queue_that_is_over_is_seen_by_its_times() -> None:
    server = decoding()
    server.observe("queue", 0.5)
    server.observe("e2e", 2.0)
    assert [each.name for each in findings(seen(server))] == ["queueing"]


def test_a_full_cache_and_preemptions() -> None:
    server = decoding()
    server.set(running=2, usage=1.0)
    server.count(preemptions=4)
    full, thrown_out = findings(seen(server, cache_config()))
    assert (full.name, full.what) == ("KV cache full", "100.0 % of the blocks held")
    assert full.reason.endswith("100 blocks of 16 tokens (1,600 tokens), gpu_memory_utilization 0.9, prefix caching on")
    assert (thrown_out.name, thrown_out.what) == ("preemptions", "4 requests thrown out, to be computed again")
    assert full.command == thrown_out.command == f"python -m probes.memory {URL}"


def test_no_hits_of_a_prefix_cache_that_is_on_and_one_that_is_off() -> None:
    server = decoding()
    server.observe("ttft", 0.1, 0.1)
    server.count(queries=200)
    [none_found] = findings(seen(server, cache_config()))
    assert (none_found.name, none_found.what) == ("no prefix-cache hits", "0 of 200 tokens looked up were found")
    assert "no beginning as long as a block of 16 tokens" in none_found.reason
    [off] = findings(seen(server, cache_config(enable_prefix_caching=False)))
    assert off.what == "the prefix cache is off"
    server.count(hits=1)
    assert findings(seen(server, cache_config())) == []


def test_idle_cards_while_requests_wait() -> None:
    server = decoding()
    server.set(waiting=1, running=2, usage=0.25)
    cards = (SampledDevice(0, "H100", 5, Activity(30.0)), SampledDevice(1, "H100", 5, Activity(97.0)))
    queueing, idle = findings(seen(server, devices=cards))
    assert (queueing.name, idle.name) == ("queueing", "idle cards")
    assert idle.what == "GPU 0 30 % busy, 1 request waiting" and "tracing.attach" in idle.command
    assert findings(seen(decoding(), devices=cards)) == []


def test_a_window_that_mixes_prefill_and_decode() -> None:
    server = decoding()
    server.count(prompt=120)
    [beside] = findings(seen(server))
    assert (beside.name, beside.what) == ("prefill beside decode", "120 prompt and 64 output tokens")
    assert "inter-token latency counts that as decoding" in beside.reason


# --- what the findings stand on ---


def test_requests_by_handler_and_class() -> None:
    before, after = http(completions_2xx=3, none_4xx=1), http(completions_2xx=10, completions_4xx=2, none_4xx=1)
    [completions] = handled(window(before, after)) or []
    assert completions.text() == "/v1/completions 9 (2xx 7, 4xx 2)"
    assert handled(window("", "")) is None


def test_lengths_out_of_histograms() -> None:
    name = "vllm:request_prompt_tokens"
    buckets = "".join(f'{name}_bucket{{le="{le}"}} {n}\n' for le, n in (("10", 4), ("20", 8), ("+Inf", 8)))
    text = f"# TYPE {name} histogram\n{buckets}{name}_count 8\n{name}_sum 88\n"
    told = lengths(Window(parse("", 0.0), parse(text, 1.0)))
    prompt = told["prompt_length"]
    assert prompt is not None and (prompt.count, prompt.mean) == (8, 11)
    assert [each.value for each in prompt.quantiles.values() if each] == pytest.approx([10, 18, 19.8])
    assert told["output_length"] is None


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ({"kv_cache_memory_bytes": 2**29}, "100 blocks of 16 tokens (1,600 tokens), 512 MiB as set, prefix caching on"),
        ({"num_gpu_blocks": None, "enable_prefix_caching": "?"}, "blocks not told, gpu_memory_utilization 0.9"),
    ],
)
def test_the_configuration_in_a_line(labels: dict[str, object], line: str) -> None:
    told = configuration(parse(cache_config(**labels), 0.0))
    assert told is not None and told.line() == line
    assert configuration(parse("", 0.0)) is None


def test_the_command_shows_all_of_it() -> None:
    server = Engines()
    looks: list[None] = []

    def answer() -> str:
        looks.append(None)
        server.work()
        return server.text() + http(completions_2xx=len(looks), completions_4xx=len(looks) - 1) + cache_config()

    with serving(answer) as url:
        shown, values = run(url, "--seconds", "0.1"), json.loads(run(url, "--seconds", "0.1", "--json").stdout)
    assert "HTTP requests  /v1/completions 2 (2xx 1, 4xx 1)\nKV cache  100 blocks of 16 tokens" in shown.stdout
    assert "errors 4xx: /v1/completions 1\n    why   clients ask for what it does not have" in shown.stdout
    assert f"    next  python -m probes.serve --url {url}\n" in shown.stdout
    names = [each["name"] for each in values["findings"]]
    assert names == ["errors 4xx", "queueing", "preemptions", "prefill beside decode"]
    assert values["http"] == [{"handler": "/v1/completions", "by_class": {"2xx": 1, "4xx": 1}}]
    assert values["cache_config"]["blocks"] == 100
