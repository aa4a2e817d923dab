"""What stands out in a window of vLLM's own server: what is put into it is named, and what is not there is not.

The same server stands by, and was started with vLLM's profiler: by its address `tracing.attach` records it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from probes.checkpoint import two_layer_model
from probes.memory.kvcache import kv_bytes_per_token
from probes.metrics.endpoint import Endpoint, look
from probes.metrics.exposition import Window
from probes.metrics.findings import FULL_BATCH, KV_FULL
from probes.metrics.quantities import figures
from probes.metrics.report import WindowReport, window_report
from probes.processes.runqueue import queued_ns
from probes.report.summary import summarize
from probes.serve.client import ask, healthy, here, stream
from probes.serve.command import HOST, PROGRAM, flags
from probes.serve.ports import free_port
from probes.serve.process import ServerProcess
from probes.serve.visit import visit
from tests.engine.recording import ROOT, reviewed
from tracing import timeline
from tracing.attach.engine import standing_engine
from tracing.timeline import innermost
from tracing.torchsums import operators

pytestmark = [pytest.mark.engine, pytest.mark.slow(90)]
BLOCK, LONGEST, AT_ONCE = 32, 1024, 8
PROMPT = 40  # tokens: more than a block
KV_TOKENS = LONGEST + 256
FEWEST = 30  # tokens of a window of decoding
STARVED_NS = 100_000_000
LONGEST_LOAD_S = 180.0
PROFILER = {"profiler": "torch", "torch_profiler_with_stack": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A server of two layers of random weights, which stands by."""
    port, model = free_port(), two_layer_model()
    token_bytes = kv_bytes_per_token(model, None, "float32")
    assert token_bytes is not None
    settings = {"model": str(model), "served_model_name": "m", "host": HOST, "port": port, "load_format": "dummy"}
    settings |= {"dtype": "float32", "enforce_eager": "true", "max_model_len": LONGEST, "max_num_seqs": AT_ONCE}
    settings |= {"block_size": BLOCK, "enable_prompt_tokens_details": "true"}
    settings |= {"kv_cache_memory_bytes": KV_TOKENS * token_bytes}
    folder = tmp_path_factory.mktemp("findings")
    settings |= {"profiler_config": json.dumps(PROFILER | {"torch_profiler_dir": str(folder / "torch")})}
    words = ["env", "ENGINESCOPE=standby", sys.executable, "-m", PROGRAM, *flags(settings)]
    with contextlib.ExitStack() as after, ServerProcess(words, folder / "log") as started:
        started.wait_ready(lambda: healthy(here(port)), 600.0, lambda *_: None)
        standing = standing_engine(started.pid)
        assert standing is not None
        after.callback(shutil.rmtree, standing.folder, ignore_errors=True)  # the server has ended then
        yield here(port)


def body(tokens: int, first: int = 1, prompt_len: int = PROMPT, **more: object) -> dict[str, object]:
    """A request whose prompt begins with the token `first`."""
    prompt = [first, *range(100, 99 + prompt_len)]
    return {"model": "m", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0} | more


def complete(at: Endpoint, tokens: int, first: int = 1, prompt_len: int = PROMPT) -> int:
    return ask(at, "/v1/completions", body(tokens, first, prompt_len)).status


def names(report: WindowReport) -> list[str]:
    return [each.name for each in report.findings]


def after(at: Endpoint, load: Callable[[], object]) -> WindowReport:
    """A window in which `load` was put on the server."""
    before = look(at)
    load()
    return window_report(at, Window(before, look(at)))


def during(at: Endpoint, clients: int, tokens: int, reached: Callable[[Window], bool], apart: int = 0) -> WindowReport:
    """A window that ends as soon as it has `reached` what it is to show, while each client sends without a pause; their
    prompts are so many tokens longer, one after the other."""
    before, enough = look(at), Event()

    def send(client: int) -> set[int]:
        request = (tokens, 1000 + client, PROMPT + apart * client)
        statuses = {complete(at, *request)}
        while not enough.is_set():
            statuses.add(complete(at, *request))
        return statuses

    with ThreadPoolExecutor(clients) as pool:
        answers = [pool.submit(send, client) for client in range(clients)]
        try:
            deadline = monotonic() + LONGEST_LOAD_S
            while not reached(window := Window(before, look(at))):
                assert monotonic() < deadline, "never reached"
        finally:
            enough.set()
    assert [each.result() for each in answers] == [{200}] * clients
    return window_report(at, window)


def decoding(at: Endpoint) -> WindowReport | None:
    """A window within one request's decoding; None where this client was kept from a processor until it had ended."""
    queued = queued_ns()
    with closing(stream(at, "/v1/completions", body(LONGEST - PROMPT, stream=True))) as events:
        for _ in range(4):
            next(events)
        report = after(at, lambda: [next(events) for _ in range(40)])
    starved = queued_ns() - queued > STARVED_NS and (report.figures.generation_tokens or 0) < FEWEST
    return None if starved else report


def test_a_window_of_decoding_has_none(server: Endpoint) -> None:
    report = next(filter(None, (decoding(server) for _ in range(5))), None)
    if report is None:
        pytest.skip("the engine spins on all processors: this client had none while a request was decoded")
    assert report.findings == [] and (report.figures.generation_tokens or 0) >= FEWEST
    assert report.cache and (report.cache.block_size_tokens, report.cache.prefix_caching) == (BLOCK, True)


def test_errors(server: Endpoint) -> None:
    def wrong() -> None:
        assert ask(server, "/v1/completions", body(4, model="another")).status == 404
        assert ask(server, "/v1/completions", b'{"prompt": ').status == 400
        assert ask(server, "/v1/completions", body(LONGEST + 1)).status == 400

    [errors] = after(server, wrong).findings
    assert (errors.name, errors.what) == ("errors 4xx", "/v1/completions 3")


def test_prefill_beside_decode_and_lengths(server: Endpoint) -> None:
    report = after(server, lambda: complete(server, 8, first=2000))
    assert names(report) == ["prefill beside decode"]
    lengths = [(each.count, each.mean) for each in report.lengths.values() if each]
    assert lengths == [(1, PROMPT), (1, 8)]


def test_a_prefix_cache_without_hits_and_with(server: Endpoint) -> None:
    report = after(server, lambda: [complete(server, 1, first) for first in (3001, 3002)])
    assert "no prefix-cache hits" in names(report) and f"a block of {BLOCK} tokens" in report.findings[0].reason
    again = after(server, lambda: [complete(server, 1, first) for first in (3001, 3002)])
    assert "no prefix-cache hits" not in names(again) and again.figures.prefix_hits == 2 * BLOCK


def test_queueing(server: Endpoint) -> None:
    """More clients than places in a batch; eight requests fill four fifths of the KV cache."""
    report = during(server, 8 * AT_ONCE, 60, lambda window: bool(figures(window).waiting))
    [queueing] = [each for each in report.findings if each.name == "queueing"]
    assert queueing.reason == FULL_BATCH and not {"KV cache full", "preemptions"} & {*names(report)}


def test_a_full_kv_cache_and_preemptions(server: Endpoint) -> None:
    """As many clients as places, whose requests need twice the blocks that there are, each at another moment."""

    def reached(window: Window) -> bool:
        seen = figures(window)
        return bool(seen.preemptions) and (seen.kv_cache_usage or 0.0) >= KV_FULL

    report = during(server, AT_ONCE, 2 * KV_TOKENS // AT_ONCE, reached, apart=BLOCK // AT_ONCE)
    reasons = [each.reason for each in report.findings if each.name in ("KV cache full", "preemptions")]
    assert len(reasons) == 2 and all(f"{KV_TOKENS // BLOCK} blocks of {BLOCK} tokens" in each for each in reasons)


def test_a_batch_that_is_sent_twice_finds_its_prompts_cached(server: Endpoint, tmp_path: Path) -> None:
    prompts = [{"prompt": [4000 + number, *range(100, 99 + PROMPT)]} for number in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in prompts))
    words = ["--base-url", server.beside(""), "--model", "m", "--mode", "completion", "--stream", "--max-tokens", "4"]
    files = ["--input", str(tmp_path / "prompts.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    line = [sys.executable, "-m", "probes.batch", *words, *files, "--repeat", "2", "--concurrency", "1"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    repeats = summarize(tmp_path / "out.jsonl", 5).occasions.repeats()
    assert repeats is not None and (repeats.first.count, repeats.again.count) == (6, 6)
    assert (repeats.first.cached_share, repeats.again.cached_share) == (0, BLOCK / PROMPT)


def test_the_checks_of_a_server_that_runs(server: Endpoint) -> None:
    result = visit(server, None, LONGEST, None)
    assert [each for each in result.checks if each.outcome not in ("passed", "skipped")] == []
    # Beside an engine that spins, this client may itself wait for a processor: then it does not know, and says so.
    skipped = {
        each.name for each in result.checks if each.outcome == "skipped" and "for a processor" not in each.summary
    }
    assert skipped <= {"POST /v1/chat/completions"}
    assert (result.model, result.max_len, len(result.checks)) == ("m", LONGEST, 10)


def attach(at: Endpoint, folder: Path, *options: str) -> None:
    """What `tracing.attach` records by the server's address, while a client asks without a pause."""
    line = [sys.executable, "-m", "tracing.attach", at.beside(""), "--out", str(folder), *options]
    over = Event()

    def send() -> set[int]:
        statuses = {complete(at, 8)}
        while not over.is_set():
            statuses.add(complete(at, 8))
        return statuses

    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(send)
        try:
            done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_LOAD_S)
        finally:
            over.set()
    assert done.returncode == 0 and answers.result() == {200}, done.stderr


def test_by_its_address_it_is_recorded(server: Endpoint, tmp_path: Path) -> None:
    for number in range(2):
        attach(server, tmp_path / str(number), "--seconds", "1")
        review = reviewed(tmp_path / str(number))
        assert review["requests"]["states"]["finished"] >= 1, review["problems"]


def test_the_steps_that_torchs_profiler_saw_are_on_the_same_clock(server: Endpoint, tmp_path: Path) -> None:
    attach(server, tmp_path, "--torch", "20")
    sums = operators.read(timeline.read(tmp_path))
    assert sums is not None and not sums.problems
    own = sums.names.groupby("stage", observed=True)["own_ns"].sum()
    assert own.get(innermost.OUTSIDE, 0) == 0 and (own["forward"] + own["logits"]) / own.sum() > 0.7
