"""`probes.memory`: real processes with vLLM's titles, safetensors files, stubs of a server and a driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from metrics_server import Engines, serving
from probes.devices import Device, balance, devices, of_engine
from probes.enginegroup import Started, arguments, group_of, groups, listener, started
from probes.enginememory import Memory
from probes.errors import EnginescopeError
from probes.exposition import parse
from probes.footprint import Footprint, footprint, model_folder, parse_rollup, summed, weights
from probes.kvcache import kv_bytes_per_token, kv_caches
from probes.memorytable import WHY, report

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20

# A front end that starts a core, which starts two workers, all titled as vLLM does: by the first word of their command
# line. Each waits for the end of its standard input, so that none outlives the test. A Python started under such a name
# does not know its own program, so it is told.
TITLED = f"""
import subprocess, sys
def titled(title, code):
    return subprocess.Popen([title, "-c", code], executable={sys.executable!r}, stdin=subprocess.PIPE)
"""
WAIT = "import sys; sys.stdin.read()"
CORE = f"""{TITLED}
workers = [titled(title, {WAIT!r}) for title in ("VLLM::Worker_TP0", "VLLM::Worker_TP1")]
print(*[worker.pid for worker in workers], flush=True)
sys.stdin.read()
"""
TREE = f"""{TITLED}
core = titled("VLLM::EngineCore", {CORE!r})
helper = subprocess.Popen([sys.executable, "-c", {WAIT!r}], stdin=subprocess.PIPE)
print(core.pid, helper.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def tree(*words: str, cwd: Path = ROOT) -> Iterator[dict[str, int]]:
    """Such a tree, started with `words`, and the PIDs of its parts."""
    line = [sys.executable, "-c", TREE, *words]
    front = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd)
    assert front.stdin is not None and front.stdout is not None
    try:
        lines = sorted((front.stdout.readline().split() for _ in range(2)), key=lambda pids: str(front.pid) in pids)
        pids = [int(pid) for pids in lines for pid in pids]
        yield named(front.pid, pids)
    finally:
        family = psutil.Process(front.pid).children(recursive=True)
        front.stdin.close()
        front.wait(timeout=20)
        for each in psutil.wait_procs(family, timeout=20)[1]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def named(front: int, pids: list[int]) -> dict[str, int]:
    """Which of them is which, once all have become what they are to be."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        # A process in the middle of its exec has no command line for a moment.
        titles = {pid: (psutil.Process(pid).cmdline() or [""])[0] for pid in pids}
        if sum(title.startswith("VLLM::") for title in titles.values()) == 3:
            break
        time.sleep(0.02)
    names = {
        title.removeprefix("VLLM::") if title.startswith("VLLM::") else "helper": pid for pid, title in titles.items()
    }
    return {"front end": front, **names}


def run(*words: str, **options) -> subprocess.CompletedProcess[str]:
    """The command."""
    line = [sys.executable, "-m", "probes.memory", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


def safetensors(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> None:
    """A file with these tensors (dtype, shape, bytes), all zero."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of two layers, 3,000 parameters in two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    safetensors(folder / "a.safetensors", {"w": ("BF16", [10, 100], 2000), "i": ("I32", [1000], 4000)})
    safetensors(folder / "b.safetensors", {"v": ("BF16", [1000], 2000)})
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64}
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}))
    return folder


# --- processes ---


def test_any_process_of_an_engine_finds_the_whole(model) -> None:
    with tree("serve", str(model)) as pids:
        found = {name: group_of(pid) for name, pid in pids.items() if name != "helper"}
        seen = {member.pid: (member.role, member.name) for member in found["front end"]}
        assert all(group == found["front end"] for group in found.values())
        assert found["front end"][0].pid == pids["front end"]
        assert seen[pids["EngineCore"]] == ("core", "EngineCore")
        assert seen[pids["Worker_TP0"]] == ("worker", "Worker_TP0")
        assert seen[pids["Worker_TP1"]] == ("worker", "Worker_TP1")
        assert seen[pids["helper"]][0] == "helper"
        assert {role for role, _ in seen.values()} == {"front end", "core", "worker", "helper"}
        assert group_of(pids["helper"]) == found["front end"]
        assert found["front end"] in groups()
        assert not any(member.pid == os.getpid() for member in found["front end"])


def test_a_process_of_no_engine_stands_alone() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert [(member.role, member.name) for member in group_of(child.pid)] == [("front end", "sleep")]
    finally:
        child.kill()
        child.wait()


def test_a_gone_process_is_one_line() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    done = run(str(child.pid))
    assert done.returncode == 1
    assert done.stderr == f"error: there is no process {child.pid} (any more); ps -ef lists those there are\n"
    assert run("9" * 30).returncode == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vllm serve ORG/M --dtype float32", Started("ORG/M", "float32", 8000)),
        ("python /bin/vllm serve --port 9000 --model M", Started("M", None, 9000)),
        ("python -m vllm.entrypoints.openai.api_server --model=M --port=1", Started("M", None, 1)),
        ("python -m offline.load --model M", Started("M", None, None)),
        ("vllm serve", Started(None, None, 8000)),
        ("python run.py --model", Started(None, None, None)),
        ("", Started(None, None, None)),
    ],
)
def test_what_a_command_line_says(line, expected) -> None:
    assert arguments(line.split()) == expected


def test_a_relative_model_is_the_front_ends(model) -> None:
    with tree("--model", model.name, cwd=model.parent) as pids:
        assert started(group_of(pids["Worker_TP0"])) == Started(str(model), None, None)


def test_listener() -> None:
    with serving(lambda: "") as url:
        assert listener(int(url.rpartition(":")[2])) == os.getpid()
    assert listener(9) is None


# --- bytes ---

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
    found = weights(model)
    assert found is not None
    assert (found.disk, found.parameters, found.loaded) == (8000, 3000, 8000)
    wide = weights(model, "float32")
    assert wide is not None and wide.loaded == 2000 * 4 + 4000  # integers stay as they are
    assert weights(model.parent) is None
    (model / "c.safetensors").write_bytes(b"\xff" * 64)
    assert weights(model) is None


def test_a_hubs_name_is_found_in_its_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--ORG--M"
    (kept / "snapshots" / "abc").mkdir(parents=True)
    assert model_folder("ORG/M") is None
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc\n")
    assert model_folder("ORG/M") == kept / "snapshots" / "abc"


def test_kv_bytes_by_hand(model) -> None:
    # keys and values (2) x 2 layers x 2 heads x 16 (64 / 4) x 2 bytes
    assert kv_bytes_per_token(model) == 256
    assert kv_bytes_per_token(model, "auto", "float32") == 512
    assert kv_bytes_per_token(model, "fp8", "float32") == 128
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"kv_lora_rank": 512}))
    assert kv_bytes_per_token(model) is None
    assert kv_bytes_per_token(model.parent) is None


# --- a server ---


def cache_info(**labels: str) -> str:
    """`cache_config_info` as vLLM writes it, with one engine's KV cache a quarter in use."""
    server = Engines()
    server.set(usage=0.25)
    said = {"engine": "0", "block_size": "16", "num_gpu_blocks": "100", "cache_dtype": "auto", **labels}
    inside = ",".join(f'{name}="{value}"' for name, value in said.items())
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
    seen = json.loads(as_json.stdout)
    assert seen["kv_cache"][0]["estimated_bytes"] == 409600
    assert seen["weights"] == {"disk": 8000, "parameters": 3000, "loaded": 8000}
    assert os.getpid() in [each["pid"] for each in seen["processes"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("127.0.0.1:9",), "Connection refused"),
        (("http://127.0.0.1:9", "--model", "no/such"), "Connection refused"),
        ((str(os.getpid()), "--model", "no/such"), "no such folder"),
    ],
)
def test_faults_are_one_line(words, said) -> None:
    done = run(*words)
    assert done.returncode == 1
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_the_command_by_pid(model) -> None:
    with tree("--model", str(model), "--dtype", "float32", "--api-key", "sk-secret") as pids:
        done = run(str(pids["Worker_TP1"]))
        as_json = run(str(pids["EngineCore"]), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "secret" not in done.stdout + as_json.stdout
    assert "Worker_TP0" in done.stdout and "Worker_TP1" in done.stdout and "together" in done.stdout
    assert "as loaded (an estimate)" in done.stdout
    assert " ".join(done.stdout.split()).endswith(WHY)
    seen = json.loads(as_json.stdout)
    assert [each["role"] for each in seen["processes"]].count("worker") == 2
    assert all(each["pss_bytes"] > 0 for each in seen["processes"])
    assert seen["weights"]["loaded"] == 12000


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


# --- GPUs ---

DRIVER = """#!/bin/sh
case "$1" in
--query-gpu*) cat <<'END'
0, GPU-a, NVIDIA H100 80GB HBM3, 61000, 81559
1, GPU-b, NVIDIA H100 80GB HBM3, 59000, 81559
2, GPU-c, NVIDIA H100 80GB HBM3, 4, 81559
3, GPU-d, GB10, [N/A], [N/A]
END
;;
*) cat <<'END'
GPU-a, 41, 60000
GPU-b, 42, 54000
GPU-b, 77, 4000
END
;;
esac
"""


@pytest.fixture
def driver(tmp_path, monkeypatch) -> None:
    """A machine with four GPUs, the last of which has no memory of its own."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(DRIVER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_devices_and_balance(driver) -> None:
    found = devices({41, 42})
    assert [each.index for each in found] == [0, 1, 2]
    assert found[1] == Device(1, "NVIDIA H100 80GB HBM3", 59000 * MIB, 81559 * MIB, 54000 * MIB)
    assert [each.index for each in of_engine(found)] == [0, 1]
    assert balance(found) == 0.9
    lines = list(report(Memory([], None, None, [], found)))
    assert "GPU 1     NVIDIA H100 80GB HBM3: 57.62 GiB of 79.65 GiB used, 52.73 GiB of it this engine's" in lines
    assert any(line.startswith("balance   90 %") for line in lines)


def test_a_driver_that_does_not_know_our_processes(driver) -> None:
    found = devices({1})
    assert [each.engine for each in found] == [None, None, None]
    assert balance(found) == pytest.approx(4 / 61000)
    assert balance([]) is None


def test_no_driver(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert devices({1}) == []


def test_the_rest_is_what_remains(model) -> None:
    kv = kv_caches(parse(cache_info(), 0.0), model, None)
    gpu = [Device(0, "G", 10 * MIB, 80 * MIB, 9 * MIB)]
    lines = list(report(Memory([], str(model), weights(model), kv, gpu)))
    assert any(line.startswith("the rest  8.6 MiB of 9.0 MiB") for line in lines)
    with pytest.raises(EnginescopeError):
        group_of(2**40)
