"""What the commands say of a real card: the doctor, the rates, and the cards beside a server, an engine and a load."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from enginescope_plugin import TRACE
from probes.devices.device import Device
from probes.devices.reading import read_devices
from probes.devices.sampling import SampledDevice
from probes.serve.checks.expectations import Served
from probes.serve.client import here
from probes.serve.report.verdict import load_lines
from probes.serve.shortload import CLIENTS, SAMPLED_S, TOKENS, short_load
from tests.needs import needs_gpu, needs_torch
from tests.probes.metrics.metrics_server import Engines, serving
from tests.probes.shardedmodel import laid, sharded_model
from tests.tracing.attach.standingprocess import ROOT, counting, folder_of

pytestmark = [needs_gpu, needs_torch]
SIZE, BUSY = 8192, 80.0
PROGRAM = """
import sys, torch
a = torch.randn(int(sys.argv[1]), int(sys.argv[1]), device="cuda", dtype=torch.bfloat16)
print("ready", flush=True)
while True:
    for _ in range(50):
        a @ a
    torch.cuda.synchronize()
"""


@pytest.fixture
def card() -> Device:
    return read_devices().devices[0]


@contextmanager
def products() -> Iterator[None]:
    """A process that keeps the card busy."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(SIZE)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()


def output(*words: str) -> str:
    """What a command prints; its exit code is 0, or 1 where it found something wrong."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    print(f"\n$ python -m {' '.join(words)}\n{done.stdout}{done.stderr}")
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr
    return done.stdout


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def is_busy(card: SampledDevice) -> bool:
    activity = card.activity
    assert activity.utilization_percent is not None and activity.power_w and activity.clock_mhz
    return activity.utilization_percent >= BUSY


def test_the_doctor_names_the_card_and_the_line_to_paste(card: Device, tmp_path: Path) -> None:
    text = in_one_line(
        output("probes.doctor", "--model", str(laid(tmp_path / "small", sharded_model())), "--gpus", "1")
    )
    assert card.total_bytes is not None
    assert f"GPU 0 ok free: {card.name}, number 0 here, " in text
    assert f"of {card.total_bytes / 2**30:.2f} GiB free, 0 % busy" in text
    assert "on 1 card ok fits: " in text and "CUDA_VISIBLE_DEVICES=0 vllm serve" in text


def test_a_card_that_computes_is_not_free(tmp_path: Path) -> None:
    model = str(laid(tmp_path / "small", sharded_model()))
    with products():
        time.sleep(2)
        text = in_one_line(output("probes.doctor", "--model", model, "--gpus", "1"))
    assert "1 free cards of one kind are needed, 0 are free" in text


def test_the_rates_are_those_of_a_card() -> None:
    rates = json.loads(output("probes.machine", "--rates", "--json"))
    assert (rates["device"], rates["threads"]) == ("cuda", None)
    assert rates["memory_bytes_s"] > 200e9 and rates["matrix_flop_s"]["bfloat16"] > 20e12


def test_metrics_has_the_cards_of_its_window(card: Device) -> None:
    with serving(Engines().text) as url, products():
        text = output("probes.metrics", url, "--gpus", "--seconds", "4")
    line = next(line for line in text.splitlines() if line.startswith("GPU 0  "))
    assert card.name in line and "% busy" in line and " W, " in line and "unknown" not in line


def test_top_has_the_cards_in_its_lines(card: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, standby=False)
    monkeypatch.setenv(TRACE, str(folder))
    with counting(folder, pause_s=0.01) as process, products():
        lines = output("tracing.top", str(process.pid), "--seconds", "4").splitlines()
    assert f"GPU 0  {card.name}: " in lines[-1] and "unknown" not in lines[-1]


class ComputingHandler(BaseHTTPRequestHandler):
    """Answers a completion after some products on the card."""

    def do_POST(self) -> None:
        import torch

        self.rfile.read(int(self.headers["Content-Length"]))
        a = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
        for _ in range(200):
            a @ a
        torch.cuda.synchronize()
        usage = {"prompt_tokens": 5, "completion_tokens": TOKENS}
        body = json.dumps({"choices": [{"text": " Paris", "finish_reason": "length"}], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_short_load_finds_the_card_busy() -> None:
    import torch

    torch.zeros(1, device="cuda")
    server = ThreadingHTTPServer(("127.0.0.1", 0), ComputingHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        load = short_load(Served(here(server.server_port), "m", 1024), sampled=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    print("\n", *load_lines(load, read_devices().devices), sep="\n")
    assert load.seconds >= SAMPLED_S and load.tokens >= CLIENTS * TOKENS and load.tokens % TOKENS == 0
    assert is_busy(load.cards[0]) and load.cards[0].samples >= 3
