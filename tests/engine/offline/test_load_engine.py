"""The load command on a real engine: what a start records of its requests, its steps, and what it resolved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from offline.load.folder import read_rates, read_requests, read_start, read_steps, start_folders
from offline.load.planning.schedule import read_schedule
from probes.checkpoint import two_layer_model
from tests.engine.recording import FORKED, LIMIT_S, ROOT
from tests.offline.load.loading import only_run, processes_of

pytestmark = [pytest.mark.engine, pytest.mark.slow]
PROFILE = """
{"schema": 1, "name": "chat", "synthetic": true, "source": "made up", "parts": [{"name": "chat", "share": 1,
 "input_tokens": {"kind": "fixed", "mean": 300}, "output_tokens": {"kind": "fixed", "mean": 6},
 "shared_prefix": {"count": 1, "tokens": 256}}]}
"""
VARIANTS = """
[cached]
base = "vllm-page"
settings = {enable_prefix_caching = true, async_scheduling = true, block_size = 32, kv_cache_memory_bytes = 67108864}
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one start: a shared prefix of 256 tokens at 10 requests a second, and one at a time."""
    out = tmp_path_factory.mktemp("load")
    (out / "mix_profile.json").write_text(PROFILE)
    (out / "variants.toml").write_text(VARIANTS)
    words = ("--model", str(two_layer_model()), "--load-format", "dummy", "--rates", "10", "--duration", "2s")
    words += ("--workload", str(out / "mix_profile.json"), "--variants-file", str(out / "variants.toml"))
    command = [sys.executable, "-m", "offline.load", "--out", str(out), *words]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **FORKED}, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert ended.returncode == 0, ended.stderr
    assert processes_of(out) == []
    (folder,) = start_folders(only_run(out))
    return folder


def test_every_request_has_its_tokens_and_its_stamps_in_order(start: Path) -> None:
    plan = read_schedule(start.parents[1] / "schedules" / "10.jsonl")
    requests = [each for each in read_requests(start) if each.rate_req_s == 10.0]
    assert sorted(each.request for each in requests) == [each.id for each in plan.requests]
    for each in requests:
        assert (each.finish, each.prompt_tokens, sum(each.tokens)) == ("length", 300, 6)
        assert each.queued_ns and each.started_ns
        stamps = [each.scheduled_ns, each.sent_ns, each.queued_ns, each.started_ns, *each.token_ns]
        assert stamps == sorted(stamps)
    assert {rate.rate_req_s for rate in read_rates(start)} == {None, 10.0}


def test_cached_prefixes_are_forgotten_before_each_level_and_found_in_it(start: Path) -> None:
    assert all(rate.prefix_reset for rate in read_rates(start))
    for level in (None, 10.0):
        requests = sorted((e for e in read_requests(start) if e.rate_req_s == level), key=lambda e: e.sent_ns)
        assert requests[0].cached_tokens == 0
        assert requests[-1].cached_tokens == 256  # eight blocks of 32


def test_the_steps_hold_what_was_generated(start: Path) -> None:
    steps, requests = list(read_steps(start)), list(read_requests(start))
    computed = sum(each.prompt_tokens - (each.cached_tokens or 0) + sum(each.tokens) - 1 for each in requests)
    assert sum(step.tokens for step in steps) == computed
    assert max(step.running for step in steps) >= 1 and all(0 <= (step.kv_use or 0) <= 1 for step in steps)


def test_what_was_asked_stands_beside_what_was_resolved(start: Path) -> None:
    record = read_start(start)
    assert record.state == "complete" and record.step_log and record.resolved is not None
    assert (record.settings["async_scheduling"], record.resolved.async_scheduling) == (True, False)
    assert (record.settings["block_size"], record.resolved.effective_block_size) == (32, 32)
    assert {phase.phase for phase in record.phases} >= {"load_weights"}
