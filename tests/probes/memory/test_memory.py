"""`probes.memory`, the command, on real processes and a stub of a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.devices.device import Device, DeviceReading
from probes.errors import EnginescopeError
from probes.memory.account import Memory, engine_memory
from probes.memory.footprint import weights
from probes.memory.kvcache import kv_caches
from probes.memory.table import WHY, report
from probes.metrics.exposition import parse
from probes.processes.enginegroup import LaunchOptions, group_of, groups
from tests.probes.memory.memorycommand import MIB, run, small_model, tree
from tests.probes.metrics.metrics_server import Engines, serving
from tests.probes.shardedmodel import safetensors


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path)


def cache_info(**labels: str) -> str:
    """`cache_config_info` as vLLM writes it, with one engine's KV cache a quarter in use."""
    server = Engines()
    server.set(usage=0.25)
    every_label = {"engine": "0", "block_size": "16", "num_gpu_blocks": "100", "cache_dtype": "auto", **labels}
    inside = ",".join(f'{name}="{value}"' for name, value in every_label.items())
    return f"{server.text()}# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{inside}}} 1.0\n"


def test_kv_cache_of_a_server(model) -> None:
    [kv] = kv_caches(parse(cache_info(), 0.0), model, None)
    assert (kv.blocks, kv.block_size_tokens, kv.tokens, kv.used) == (100, 16, 1600, 0.25)
    assert (kv.stated_bytes, kv.estimated_bytes) == (None, 1600 * 256)
    stated = {"kv_cache_memory_bytes": "409600", "kv_cache_size_tokens": "1500"}
    [kv] = kv_caches(parse(cache_info(**stated), 0.0), None, None)
    assert (kv.tokens, kv.stated_bytes, kv.estimated_bytes) == (1500, 409600, None)
    [kv] = kv_caches(parse(cache_info(num_gpu_blocks="None"), 0.0), None, None)
    assert (kv.blocks, kv.tokens) == (None, None)


def test_the_command_by_url_finds_the_local_processes_too(model) -> None:
    with serving(cache_info) as url:
        done = run(url, "--model", str(model))
        as_json = run(url, "--model", str(model), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 blocks × 16 = 1,600 tokens" in done.stdout  # noqa: RUF001
    assert "25.0 % in use" in done.stdout and "(an estimate)" in done.stdout
    assert "No process here is titled as vLLM's" in done.stdout
    printed = json.loads(as_json.stdout)
    assert printed["kv_cache"][0]["estimated_bytes"] == 409600
    assert printed["weights"] == {"disk": 8000, "parameters": 3000, "loaded": 8000}
    assert os.getpid() in [each["pid"] for each in printed["processes"]]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("127.0.0.1:9",), "Connection refused"),
        (("http://127.0.0.1:9", "--model", "no/such"), "Connection refused"),
        ((str(os.getpid()),), "is not an engine: neither it nor what it has started loaded vLLM"),
        (("1",), "process 1 is not an engine"),
    ],
)
def test_faults_are_one_line(words, error) -> None:
    done = run(*words)
    assert done.returncode == 1
    assert error in done.stderr and done.stderr.count("\n") == 1


def test_a_model_that_is_not_there_is_one_line() -> None:
    with tree() as pids:
        done = run(str(pids["front end"]), "--model", "no/such")
    assert done.returncode == 1 and "no such folder" in done.stderr and done.stderr.count("\n") == 1


def test_an_engine_inside_a_process_is_known_by_its_library(tmp_path: Path) -> None:
    library = tmp_path / "vllm" / "_C.abi3.so"
    library.parent.mkdir()
    library.write_bytes(bytes(4096))
    mapped = f"file = open({str(library)!r}, 'r+b'); held = mmap.mmap(file.fileno(), 0)"
    code = f"import mmap; {mapped}; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdout and engine.stdout.readline()
        done = run(str(engine.pid))
        engine.communicate(b"\n")
    assert done.returncode == 0 and "it is inside the first one" in done.stdout


def test_the_command_by_pid(model) -> None:
    with tree("--model", str(model), "--dtype", "float32", "--api-key", "sk-secret") as pids:
        done = run(str(pids["Worker_TP1"]))
        as_json = run(str(pids["EngineCore"]), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "secret" not in done.stdout + as_json.stdout
    assert "Worker_TP0" in done.stdout and "Worker_TP1" in done.stdout and "together" in done.stdout
    assert "as loaded (an estimate)" in done.stdout
    assert " ".join(done.stdout.split()).endswith(WHY)
    printed = json.loads(as_json.stdout)
    assert [each["role"] for each in printed["processes"]].count("worker") == 2
    assert all(each["pss_bytes"] > 0 for each in printed["processes"])
    assert printed["weights"]["loaded"] == 12000


def test_without_an_argument_the_only_engine_is_meant() -> None:
    with tree() as pids:
        here = groups()
        done = run()
        if len(here) == 1:
            assert f"{pids['EngineCore']}" in done.stdout
        with tree() as others:
            two = run()
    assert two.returncode == 1
    assert str(pids["front end"]) in two.stderr and str(others["front end"]) in two.stderr


def test_the_rest_is_what_remains(model) -> None:
    kv = kv_caches(parse(cache_info(), 0.0), model, None)
    gpu = DeviceReading([Device("nvidia", 0, "G", 10 * MIB, 80 * MIB, 9 * MIB)])
    lines = list(report(Memory([], str(model), weights(model), kv, gpu)))
    assert any(line.startswith("the rest  8.6 MiB of 9.0 MiB") for line in lines)
    with pytest.raises(EnginescopeError):
        group_of(2**40)


def test_engines_side_by_side_load_the_weights_each(model) -> None:
    text = cache_info() + cache_info(engine="1").splitlines()[-1] + "\n"
    kv = kv_caches(parse(text, 0.0), model, None)
    gpus = DeviceReading([Device("nvidia", n, "G", 10 * MIB, 80 * MIB, 9 * MIB) for n in range(2)])
    lines = list(report(Memory([], str(model), weights(model), kv, gpus)))
    assert "weights   0.0 MiB on disk, 0.0 M parameters, by each of 2 engines" in lines
    rest = 18 * MIB - 2 * (1600 * 256 + 8000)
    assert any(line.startswith(f"the rest  {rest / MIB:.1f} MiB of 18.0 MiB") for line in lines)


def test_more_cards_than_kv_heads_have_each_several_times(model) -> None:
    """Two KV heads: one on each of two cards, and one on each of four."""
    for cards, token_bytes in ((1, 256), (2, 2 * 128), (4, 4 * 128)):
        [kv] = kv_caches(parse(cache_info(), 0.0), model, None, cards)
        assert kv.estimated_bytes == 1600 * token_bytes


def test_float32_is_loaded_in_two_bytes_unless_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}))
    (model / "a.safetensors").write_bytes(safetensors({"w": ("F32", [1000], 4000)}))
    loaded = {}
    for dtype in (None, "auto", "float32"):
        options = LaunchOptions(None, dtype, None)
        monkeypatch.setattr("probes.memory.account.launch_options", lambda _, options=options: options)
        memory = engine_memory(group_of(os.getpid()), None, str(model))
        loaded[dtype] = memory.weights and memory.weights.loaded
    assert loaded == {None: 4000, "auto": 4000, "float32": 8000}


def test_devices_that_are_not_read_are_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.memory.account.read_devices", lambda pids: DeviceReading([]))
    monkeypatch.setattr("probes.memory.account.installed_version", lambda: "0.32.0+xpu")
    devices = engine_memory(group_of(os.getpid()), None).devices
    assert devices == DeviceReading([], ["vLLM 0.32.0+xpu runs on XPUs, which are not read here"])
