"""The bytes of processes, of weights by their files' headers, and of a KV block by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from probes.memory.footprint import Footprint, footprint, model_folder, parse_rollup, summed, weights
from probes.memory.kvcache import kv_bytes_per_token
from tests.probes.memory.memorycommand import MIB, small_model

ROLLUP = """5600-7ffe ---p 00000000 00:00 0                          [rollup]
Rss:                4000 kB
Pss:                2500 kB
Pss_Dirty:          1200 kB
Pss_Anon:           1000 kB
Pss_File:           1100 kB
Pss_Shmem:           400 kB
Shared_Clean:       1500 kB
Private_Clean:       700 kB
Private_Dirty:      1300 kB
Private_Hugetlb:       0 kB
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path)


def test_rollup() -> None:
    kb = 1024
    assert parse_rollup(ROLLUP) == Footprint(4000 * kb, 2500 * kb, 2000 * kb, 1000 * kb, 1100 * kb, 400 * kb)


def test_a_real_process_weighs_what_it_holds() -> None:
    code = "import sys; held = bytearray(b'x' * (64 << 20)); print(len(held), flush=True); sys.stdin.read()"
    line = [sys.executable, "-c", code]
    child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    child.stdout.readline()
    size, known = footprint(child.pid), psutil.Process(child.pid).memory_full_info()
    child.stdin.close()
    child.wait()
    assert size is not None and size.anonymous is not None and size.pss is not None
    assert 64 * MIB < size.anonymous < 160 * MIB
    assert (size.pss, size.uss) == pytest.approx((known.pss, known.uss), rel=0.05)
    assert size.rss == pytest.approx(known.rss, rel=0.05)
    assert size.pss == pytest.approx(size.anonymous + (size.file or 0) + (size.shared or 0), rel=0.01)
    assert footprint(child.pid) is None


def test_a_process_of_another_user_has_its_rss(tmp_path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "statm").write_text("1000 300 200 1 0 100 0\n")
    assert footprint(7, tmp_path) == Footprint(300 * os.sysconf("SC_PAGE_SIZE"))
    assert summed([1, None]) is None and summed([1, 2]) == 3


def test_weights_by_their_headers(model) -> None:
    sizes = weights(model)
    assert sizes is not None
    assert (sizes.disk, sizes.parameters, sizes.loaded) == (8000, 3000, 8000)
    wide = weights(model, "float32")
    assert wide is not None and wide.loaded == 2000 * 4 + 4000  # integers stay as they are
    assert weights(model.parent) is None
    (model / "c.safetensors").write_bytes(b"\xff" * 64)
    assert weights(model) is None


def test_a_hubs_name_is_found_in_its_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--ORG--M"
    (cached / "snapshots" / "abc").mkdir(parents=True)
    assert model_folder("ORG/M") is None
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc\n")
    assert model_folder("ORG/M") == cached / "snapshots" / "abc"


def test_kv_bytes_by_hand(model) -> None:
    # keys and values (2) x 2 layers x 2 heads x 16 (64 / 4) x 2 bytes
    assert kv_bytes_per_token(model) == 256
    assert kv_bytes_per_token(model, "auto", "float32") == 512
    assert kv_bytes_per_token(model, "fp8", "float32") == 128
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}))
    assert kv_bytes_per_token(model) == 256  # vLLM computes it in two bytes unless told
    (model / "config.json").write_text(json.dumps(config | {"kv_lora_rank": 512}))
    assert kv_bytes_per_token(model) is None
    assert kv_bytes_per_token(model.parent) is None
