"""vLLM's own server under requests and under the clients of the study plan, recorded and reviewed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from probes.checkpoint import two_layer_model
from probes.serve.ports import free_port
from tests.engine.recording import FORKED, LIMIT_S, ROOT, reviewed
from tests.notes.study import clientblocks

pytestmark = [pytest.mark.engine, pytest.mark.slow(60)]

REQUESTS_OF_THE_PAGE = 6  # three of curl's, three of openai's; the list of models is none


def ask(port: int, number: int) -> int:
    body = {
        "model": "m",
        "prompt": f"Number {number} says",
        "max_tokens": 12,
        "ignore_eos": True,
        "stream": number % 2 == 0,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=LIMIT_S) as response:
        response.read()
        return int(response.status)


def test_a_server_under_sixteen_requests(tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "trace"
    server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(two_layer_model())]
    options = [
        "--served-model-name",
        "m",
        "smol",
        "--host",
        "127.0.0.1",
        "--load-format",
        "dummy",
        "--enforce-eager",
        "--dtype",
        "float32",
    ]
    sized = ["--max-model-len", "512", "--kv-cache-memory-bytes", str(64 << 20), "--port", str(port)]
    command = [sys.executable, "-m", "tracing.record", "--out", str(folder), "--", *server, *options, *sized]
    with (tmp_path / "log").open("w") as log:
        recorder = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | FORKED, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            wait_until_healthy(port, recorder)
            with ThreadPoolExecutor(16) as pool:
                assert set(pool.map(lambda number: ask(port, number), range(16))) == {200}
            models, whole, stream, completion, *openai = clientblocks.run_all(port)
            recorder.send_signal(signal.SIGTERM)
            recorder.wait(LIMIT_S)
        finally:
            if recorder.poll() is None:
                recorder.kill()
    review = reviewed(folder)
    assert review["requests"]["states"] == {"finished": 16 + REQUESTS_OF_THE_PAGE}, (tmp_path / "log").read_text()[
        -3000:
    ]
    assert {each["id"] for each in json.loads(models)["data"]} == {"m", "smol"}
    assert json.loads(whole)["choices"][0]["message"]["role"] == "assistant"
    assert stream.count("data: {") >= 3 and stream.rstrip().endswith("data: [DONE]")
    assert json.loads(completion)["usage"]["prompt_tokens"] > 0
    assert "first piece after" in openai[0] and len(openai) == 2


def wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended before it was healthy"
        with contextlib.suppress(urllib.error.URLError, OSError):
            if urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200:
                return
        time.sleep(0.5)
    raise TimeoutError("the server did not become healthy")
