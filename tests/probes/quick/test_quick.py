"""`probes.quick` on a stand-in for vLLM's `LLM`: what it shows, what it says of faults, and that nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.probes.modelfolders import model_folder

pytestmark = pytest.mark.slow(15)
ROOT = Path(__file__).resolve().parents[3]
STAND_IN = {
    "__init__.py": """
import os, time
from types import SimpleNamespace as Made

class SamplingParams:
    def __init__(self, temperature, max_tokens, ignore_eos):
        self.tokens = max_tokens if ignore_eos else 3

class LLM:
    @classmethod
    def from_engine_args(cls, args):
        print("INFO 11-21 11:27:13 [api_utils.py:286] non-default args: {}", flush=True)
        print("(Worker pid=3) INFO 11-21 11:27:41 [m.py:68] Starting to load model m...", flush=True)
        if os.environ.get("FAKE") == "hangs":
            time.sleep(3600)
        if os.environ.get("FAKE") == "no memory":
            raise ValueError("No available memory for the cache blocks.")
        print("INFO 11-21 11:27:43 [core.py:402] init engine (profile, create kv cache) took 1 s", flush=True)
        llm = cls()
        cache = Made(num_gpu_blocks=100, block_size=16)
        llm.llm_engine = Made(vllm_config=Made(cache_config=cache))
        return llm

    def generate(self, prompts, parameters, use_tqdm):
        if os.environ.get("FAKE") == "no answer":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        time.sleep(0.01 * parameters.tokens)
        return [Made(outputs=[Made(token_ids=[1] * parameters.tokens, text=" Paris")])]
""",
    "engine/__init__.py": "",
    "engine/arg_utils.py": """
class EngineArgs:
    add_cli_args = staticmethod(lambda parser: parser)
    from_cli_args = staticmethod(lambda arguments: arguments)
""",
    "utils/__init__.py": "",
    "utils/argparse_utils.py": """
class FlexibleArgumentParser:
    def parse_args(self, words):
        assert "--max-model-len" in words and "--max-num-seqs" in words, words
        return words
""",
}


def quick(tmp_path: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, its engine the stand-in, its log in the test's folder."""
    for name, text in STAND_IN.items():
        (tmp_path / "vllm" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "vllm" / name).write_text(text)
    line = [sys.executable, "-m", "probes.quick", "--engine", "max_num_seqs=2", *map(str, words)]
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": str(tmp_path)}
    return subprocess.run(
        line, cwd=ROOT, env=os.environ | paths | environment, capture_output=True, text=True, timeout=120
    )


def test_a_line_its_speed_the_start_and_the_memory(tmp_path: Path) -> None:
    done = quick(tmp_path, "--model", model_folder(tmp_path), "--tokens", 20)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("'The capital of France is' → ' Paris'\n")
    assert "tok/s out, of 20 tokens of one request alone (n=1); the first 3 tokens took " in done.stdout
    assert "KV cache  100 blocks × 16 = 1,600 tokens" in done.stdout  # noqa: RUF001
    assert "s  loads the weights\n" in done.stdout and "s  generates\n" in done.stdout and "together" in done.stdout
    assert "s  generates\n" in done.stderr and "HTTP" not in done.stdout + done.stderr
    assert not [*tmp_path.glob("enginescope-quick-*")]


def test_json(tmp_path: Path) -> None:
    done = quick(tmp_path, "--model", model_folder(tmp_path), "--tokens", 20, "--json")
    came = json.loads(done.stdout)
    made = came["generation"]
    assert (came["passed"], made["first_tokens"], made["timed_tokens"], made["text"]) == (True, 3, 20, " Paris")
    assert made["tok_s"] == pytest.approx(20 / made["timed_s"]) and made["tok_s"] < 100
    assert sum(each["took_s"] for each in came["startup"]) == pytest.approx(came["took_s"])
    assert came["memory"]["processes"] and came["fault"] is None


def test_one_that_does_not_load_says_why(tmp_path: Path) -> None:
    done = quick(tmp_path, "--model", model_folder(tmp_path), FAKE="no memory")
    assert done.returncode == 1
    assert "the engine: it ended with code 1; the last thing it did: loads the weights" in done.stdout
    assert "likely cause: out of memory" in done.stdout
    log = Path(done.stdout.splitlines()[-1].removeprefix("its log: "))
    assert "No available memory" in log.read_text()


def test_one_that_fails_as_it_generates_is_told_so(tmp_path: Path) -> None:
    done = quick(tmp_path, "--model", model_folder(tmp_path), FAKE="no answer")
    assert done.returncode == 1 and "HTTP" not in done.stdout
    assert "it ended with code 1; the last thing it did: generates\n" in done.stdout


def test_one_that_hangs_is_ended_whole(tmp_path: Path) -> None:
    done = quick(tmp_path, "--model", model_folder(tmp_path), "--timeout", 2, "--json", FAKE="hangs")
    fault = json.loads(done.stdout)["fault"]
    assert done.returncode == 1 and "the last thing it did: loads the weights" in fault["what"]
    lines = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if str(tmp_path) in line]


@pytest.mark.parametrize("words", [("--tokens", "0"), ("--tokens", "1024"), ("--gpus", "0"), ("--model", "/no/such")])
def test_bad_usage(tmp_path: Path, words: tuple[str, str]) -> None:
    done = quick(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
