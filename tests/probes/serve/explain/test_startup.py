"""The phases of a start, by lines of several versions."""

from __future__ import annotations

from probes.serve.explain.explainedlog import explain
from probes.serve.explain.startup import Start
from tests.probes.serve.explain.lines import parsed

V08 = """\
INFO 04-01 12:00:00 [__init__.py:239] Automatically detected platform cuda.
INFO 04-01 12:00:05 [api_server.py:1034] vLLM API server version 0.8.4
INFO 04-01 12:00:12 [core.py:54] Initializing a V1 LLM engine (v0.8.4) with config: model='org/m', dtype=torch.bfloat16
(VllmWorker rank=0 pid=3) INFO 04-01 12:00:20 [gpu_model_runner.py:1174] Starting to load model org/m...
(VllmWorker rank=0 pid=3) INFO 04-01 12:00:31 [loader.py:447] Loading weights took 10.51 seconds
(VllmWorker rank=1 pid=4) INFO 04-01 12:00:41 [loader.py:447] Loading weights took 20.25 seconds
(VllmWorker rank=0 pid=3) INFO 04-01 12:00:42 [gpu_model_runner.py:1186] Model loading took 14.9889 GB and 12.4 seconds
(VllmWorker rank=0 pid=3) INFO 04-01 12:00:50 [backends.py:430] Dynamo bytecode transform time: 7.11 s
(VllmWorker rank=0 pid=3) INFO 04-01 12:01:20 [monitor.py:33] torch.compile takes 40.20 s in total
INFO 04-01 12:01:22 [kv_cache_utils.py:634] GPU KV cache size: 233,936 tokens
(VllmWorker rank=0 pid=3) INFO 04-01 12:01:43 [gpu_model_runner.py:1499] Graph capturing finished in 21 secs, took 1 GiB
INFO 04-01 12:01:44 [core.py:138] init engine (profile, create kv cache, warmup model) took 62.10 seconds
INFO 04-01 12:01:46 [api_server.py:1081] Starting vLLM API server on http://0.0.0.0:8000
INFO:     Started server process [1]
INFO 04-01 12:01:47 [x.py:1] a line with a time
INFO:     Application startup complete.
"""


def start_of(log: str) -> Start:
    start = Start()
    for line in parsed(log.splitlines()):
        start.read(line)
    return start


def test_a_stated_duration_is_that_of_the_phase_that_ends_there() -> None:
    took = {each.name: each for each in start_of(V08).took()}
    weights = took["loads the weights"]
    assert (weights.took_s, weights.stated, weights.fastest_s, weights.slowest) == (20.25, 2, 10.51, "VllmWorker 1")
    assert took["compiles"].took_s == 40.2 and took["captures CUDA graphs"].took_s == 21
    assert (
        took["traces the model (Dynamo)"].took_s == 7.11
        and took["profile, KV cache and warm-up, in all"].took_s == 62.1
    )


def test_a_phase_that_no_line_states_is_the_time_between_lines() -> None:
    took = {each.name: each for each in start_of(V08).took()}
    workers = took["starts the workers"]
    assert (workers.began_s, workers.took_s, workers.stated) == (12.0, 8.0, 0)


def test_memory_is_measured_once_the_last_rank_has_loaded() -> None:
    took = {each.name: each for each in start_of(V08).took()}
    assert (took["measures the memory left"].began_s, took["measures the memory left"].took_s) == (42.0, 8.0)


def test_the_last_phase_ends_with_the_line_that_has_no_time() -> None:
    start = start_of(V08)
    took = {each.name: each.took_s for each in start.took()}
    assert took["starts the HTTP server"] == 3.0 and start.first_s is not None and start.ready_s == start.first_s + 107


def test_facts() -> None:
    facts = start_of(V08).facts
    assert facts["vLLM"] == "0.8.4" and facts["model"] == "org/m" and facts["KV cache, tokens an engine"] == "233,936"


def test_a_slower_rank_does_not_take_the_start_back() -> None:
    late = V08.replace(
        "INFO 04-01 12:01:46", "INFO 04-01 12:01:45 [y.py:1] Loading weights took 1.0 seconds\nINFO 04-01 12:01:46"
    )
    assert start_of(late).doing == start_of(V08).doing == "starts the HTTP server"


def test_without_times_only_what_lines_state_is_told() -> None:
    log = "Loading weights took 2.5 seconds\nApplication startup complete.\n"
    (took,) = start_of(log).took()
    assert (took.name, took.took_s, took.began_s) == ("loads the weights", 2.5, None)


def test_a_pods_log_of_two_starts(tmp_path) -> None:
    failed = V08.split("INFO 04-01 12:01:22")[0] + "torch.OutOfMemoryError: CUDA out of memory. Tried\n"
    path = tmp_path / "pod.log"
    path.write_text(failed + V08)
    with path.open("rb") as file:
        (explained,) = explain(file).values()
    assert (explained.starts, explained.end) == (2, "it answered, and the log ends while it does")
    assert explained.cause() is None and explained.errors.lines == []
