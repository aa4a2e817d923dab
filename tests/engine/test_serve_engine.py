"""`probes.serve` on vLLM's own server: all checks pass, and real crashes are explained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from probes.checkpoint import two_layer_model

pytestmark = [pytest.mark.engine, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
PORT = "8917"


def run(*words: str) -> tuple[int, str, str]:
    """The command on the two-layer model; its exit code and words."""
    line = [sys.executable, "-m", "probes.serve", *words, "--port", PORT, "--timeout", "300", "--json"]
    environ = dict(os.environ) | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=500)
    return done.returncode, done.stdout, done.stderr


def left_behind() -> list[str]:
    """Processes of our server that still run."""
    lines = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
    return [line for line in lines if "api_server" in line and PORT in line]


def test_the_real_server_passes() -> None:
    code, out, err = run(str(two_layer_model()), "--engine", "load_format=dummy")
    seen = json.loads(out)
    assert [each for each in seen["checks"] if each["outcome"] != "passed"] == [] and code == 0, err
    assert [each["outcome"] for each in seen["checks"]] == ["passed"] * 10
    phases = [each["phase"] for each in seen["startup"]]
    assert phases[0] == "imports vLLM" and phases[-1] == "starts the HTTP server" and "starts the workers" in phases
    [kv] = seen["memory"]["kv_cache"]
    assert kv["blocks"] * kv["block_size_tokens"] == kv["tokens"]
    assert kv["stated_bytes"] == 2**29 and kv["estimated_bytes"] <= kv["stated_bytes"]
    assert {each["role"] for each in seen["memory"]["processes"]} == {"front end", "core", "worker", "helper"}
    assert left_behind() == []


@pytest.mark.parametrize(
    ("words", "cause", "remedy"),
    [
        (("nobody/no-such-model",), "model not found", "probes.checkpoint"),
        (("--engine", "frobnicate=1"), "does not take an --engine argument", "spelling"),
        (("--engine", "load_format=dummy", "--engine", "kv_cache_memory_bytes=100000"), "out of memory", "larger"),
    ],
)
def test_real_crashes_are_explained(words, cause, remedy) -> None:
    model = () if words[0] == "nobody/no-such-model" else (str(two_layer_model()),)
    code, out, _ = run(*model, *words)
    seen = json.loads(out)
    assert code == 1 and not seen["checks"]
    assert cause in seen["fault"]["cause"] and remedy in seen["fault"]["remedy"], seen["fault"]
    assert seen["fault"]["lines"] and Path(seen["log"]).is_file()
    assert left_behind() == []
