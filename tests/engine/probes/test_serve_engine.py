"""`probes.serve` on vLLM's own server: all checks pass, and real crashes are explained."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from probes.checkpoint import default_model, two_layer_model
from probes.serve.explain.explainedlog import explain
from probes.serve.ports import free_port
from tests.engine.recording import FORKED, LIMIT_S, ROOT

pytestmark = [pytest.mark.engine, pytest.mark.slow(120)]


@dataclass(frozen=True)
class Run:
    """What came of a command: its exit code and words, and what still runs of its server."""

    code: int
    out: str
    err: str
    left_behind: list[str]


def run(*words: str, **environment: str) -> Run:
    """The command on a free port."""
    port = str(free_port())
    line = [sys.executable, "-m", "probes.serve", *words, "--port", port, "--timeout", "600", "--json"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | environment
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    return Run(done.returncode, done.stdout, done.stderr, servers(port))


def servers(port: str) -> list[str]:
    """Servers on a port that still run."""
    lines = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    return [" ".join(line) for line in lines if "api_server" in " ".join(line) and port in line]


def test_the_real_server_passes() -> None:
    """Of all its layers: two would make tokens faster than a busy machine lets the front end hand them on."""
    server = run(str(default_model(quiet=True)))
    session = json.loads(server.out)
    assert [each for each in session["checks"] if each["outcome"] != "passed"] == [] and server.code == 0, server.err
    assert [each["outcome"] for each in session["checks"]] == ["passed"] * 10
    phases = [each["phase"] for each in session["startup"]]
    assert phases[0] == "imports vLLM" and phases[-1] == "starts the HTTP server" and "starts the workers" in phases
    [kv] = session["memory"]["kv_cache"]
    assert kv["blocks"] * kv["block_size_tokens"] == kv["tokens"]
    assert kv["stated_bytes"] == 2**29 and kv["estimated_bytes"] <= kv["stated_bytes"]
    assert {each["role"] for each in session["memory"]["processes"]} == {"front end", "core", "worker", "helper"}
    assert server.left_behind == []


@pytest.mark.parametrize(
    ("cause", "model", "settings", "remedy"),
    [
        ("the hub may not be asked", "nobody/no-such-model", (), "hf download"),
        ("does not take an argument", "", ("frobnicate=1",), "spelling"),
        ("out of memory", "", ("load_format=dummy", "kv_cache_memory_bytes=100000"), "larger"),
    ],
)
def test_real_crashes_are_explained(cause: str, model: str, settings: tuple[str, ...], remedy: str) -> None:
    words = [word for setting in settings for word in ("--engine", setting)]
    crash = run(model or str(two_layer_model()), *words, **FORKED)
    session = json.loads(crash.out)
    assert crash.code == 1 and not session["checks"]
    assert cause in session["fault"]["cause"] and remedy in session["fault"]["remedy"], session["fault"]
    assert session["fault"]["lines"] and crash.left_behind == []
    with Path(session["log"]).open("rb") as file:
        (explained,) = explain(file).values()
    told = explained.cause()
    assert explained.ended_badly and told is not None and cause in told.cause
    shutil.rmtree(Path(session["log"]).parent)
