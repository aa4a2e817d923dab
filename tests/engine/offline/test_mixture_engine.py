"""A mixture of experts on two workers: a tiny random one goes through the load command as any model does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from offline.load.folder import read_load_run, read_rates, read_start, start_folders
from offline.records.workers import worker_memory
from probes.checkpoint import two_layer_model
from tests.engine.recording import LIMIT_S, ROOT
from tests.offline.load.loading import only_run, processes_of

pytestmark = [pytest.mark.engine, pytest.mark.slow]
SHAPE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "decoder_sparse_step": 1}
CONFIG = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "mlp_only_layers": [], **SHAPE}
VARIANTS = '[moe]\nbase = "vllm-page"\nsettings = {tensor_parallel_size = 2, kv_cache_memory_bytes = 67108864}\n'
WORDS = ("--load-format", "dummy", "--rates", "8", "--duration", "3s", "--variants", "moe")


def mixture(folder: Path) -> Path:
    """The two-layer model's tokenizer and sizes, with eight experts a layer of which a token asks two."""
    shutil.copytree(two_layer_model(), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **CONFIG}))
    return folder


def test_a_load_on_a_mixture_of_experts_shows_the_balance_of_its_workers(tmp_path: Path) -> None:
    (file := tmp_path / "variants.toml").write_text(VARIANTS)
    words = ("--model", str(mixture(tmp_path / "mixture")), "--variants-file", str(file), *WORDS)
    command = [sys.executable, "-m", "offline.load", "--out", str(tmp_path / "out"), *words]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == 0, ended.stderr
    path = only_run(tmp_path / "out")
    (folder,) = start_folders(path)
    start = read_start(folder)
    first, second = worker_memory(start.phases, start.memory)
    assert first.weights_bytes == second.weights_bytes and first.kv_cache_bytes == second.kv_cache_bytes == 64 * 2**20
    assert "<h2>Workers" in (path / "report.html").read_text()
    assert {rate.rate_req_s: rate.failed for rate in read_rates(folder)} == {None: 0, 8.0: 0}
    assert all(rate.finished and not rate.expert_tokens for rate in read_rates(folder))  # a CPU's runner names none
    assert read_load_run(path).state == "complete" and processes_of(tmp_path) == []
