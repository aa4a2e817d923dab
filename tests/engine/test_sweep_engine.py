"""The sweep on the real engine: the table of a whole run, refusals, and what it survives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from probes.checkpoint import default_model, two_layer_model
from tests.offline.sweeping import ROOT, nothing_left, only_run, records, run, start, trials
from tests.shells import until

pytestmark = [pytest.mark.engine, pytest.mark.slow]
LIMIT_S = 900
IN_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}  # where the engine's split into processes is not what is tested
SMALL = (
    "--load-format",
    "dummy",
    "--input-len",
    "96",
    "--shared-prefix-len",
    "64",
    "--output-len",
    "8",
    "--repeats",
    "2",
)


@pytest.fixture(scope="module")
def model() -> str:
    return str(two_layer_model())


@pytest.fixture(scope="module")
def whole(model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run with an arm that the CPU backend refuses (block size 16) and one that it takes (32)."""
    out = tmp_path_factory.mktemp("whole")
    before = shared_memory()
    words = ("--batch-size", "1,4", "--block-size", "16,32", "--prefix-caching", "on", "--seed", "5")
    code, text = run(out, "--model", model, *SMALL, *words)
    assert code == 0, text
    until(lambda: shared_memory() <= before)  # others' comes and goes; what a killed engine left would stay
    return only_run(out), text


def test_a_refused_block_size_is_a_row_with_the_engines_words(whole: tuple[Path, str]) -> None:
    folder, text = whole
    table = pd.read_csv(folder / "table.csv")
    refused = table[table.status == "refused"]
    assert len(refused) == 4 and set(refused.block_size) == {16}
    assert refused.reason.str.contains("No common block size for 16").all()
    assert "warning: 4 cells refused: ValueError: No common block size for 16" in text
    assert text.splitlines()[-1] == f"Wrote {folder}"
    assert nothing_left()


def test_measured_and_expected_cached_tokens_agree(whole: tuple[Path, str]) -> None:
    table = pd.read_csv(whole[0] / "table.csv").query("status == 'ok'").set_index(["batch_size", "cache_state"])
    # Prefix 64 = 2 blocks of 32. Cold: the first request of a batch computes it and the others find it. Warm: all do.
    assert table.cached_tokens.to_dict() == {(1, "cold"): 0, (1, "warm"): 64, (4, "cold"): 192, (4, "warm"): 256}
    assert (table.cached_tokens == table.expected_cached_tokens).all()
    assert (table.cache_check == "as expected").all()


def test_every_token_asked_for_was_generated_and_is_in_the_step_log(whole: tuple[Path, str]) -> None:
    for record in records(whole[0]):
        steps = [dict(zip(record["step_fields"], values, strict=True)) for values in record["steps"]]
        expected = len(record["requests"]) * 8
        assert sum(r["generated_tokens"] for r in record["requests"]) == record["asked_tokens"] == expected
        prompted = sum(r["prompt_tokens"] for r in record["requests"])
        assert sum(s["prefill_tokens"] for s in steps) == prompted - record["prefix_hits"]
        assert sum(s["decode_tokens"] for s in steps) == expected - len(record["requests"])
        worked = [s for s in steps if s["prefill_tokens"] + s["decode_tokens"]]  # the core closes with an empty step
        assert all(record["start_ns"] <= s["start_ns"] <= s["end_ns"] <= record["end_ns"] for s in worked)
        assert record["steps_lost"] == 0


def test_the_arm_says_what_it_resolved_and_how_it_started(whole: tuple[Path, str]) -> None:
    row = pd.read_csv(whole[0] / "table.csv", keep_default_na=False).query("status == 'ok'").iloc[0]
    assert (float(row.effective_block_size), row.attention_backend, row.async_scheduling) == (32, "CPU_ATTN", "False")
    assert float(row.kv_blocks) * 32 == float(row.kv_tokens)
    assert row.startup_warm_up_s == "" and row.startup_note.startswith("warm_up:")
    parts = [float(row[f"startup_{part}_s"]) for part in ("import", "spawn", "load_weights", "profile_kv", "rest")]
    assert sum(parts) == pytest.approx(float(row.startup_s)) and min(parts[:4]) > 0
    assert float(row.weights_bytes) > 1e7 and float(row.kv_cache_bytes) == 1 << 29


def test_a_parquet_table_has_the_same_cells(whole: tuple[Path, str]) -> None:
    csv, parquet = pd.read_csv(whole[0] / "table.csv"), pd.read_parquet(whole[0] / "table.parquet")
    assert list(csv.columns) == list(parquet.columns) and len(csv) == len(parquet) == 8


def core_of(process_id: int) -> psutil.Process | None:
    for child in psutil.Process(process_id).children(recursive=True):
        if child.cmdline()[:1] == ["VLLM::EngineCore"] and child.status() != psutil.STATUS_STOPPED:
            return child
    return None


def test_a_killed_core_fails_its_arm_and_a_resume_completes_it(model: str, tmp_path: Path) -> None:
    """SIGKILL to EngineCore in the middle of an arm; then Ctrl-C in a resume, then a resume to the end."""
    words = ("--batch-size", "1,4", "--block-size", "32", "--prefix-caching", "on", "--cache-state", "cold")
    process = start(tmp_path, "--model", model, *SMALL, *words, "--repeats", "6")
    until(lambda: any(tmp_path.glob("*/*/*/records.jsonl")) and len(trials(only_run(tmp_path))) >= 2, LIMIT_S)
    core = core_of(process.pid)
    assert core is not None
    core.kill()
    text, _ = process.communicate(timeout=LIMIT_S)
    folder = only_run(tmp_path)
    assert process.returncode == 3, text
    assert "failed: " in text and nothing_left()
    assert set(pd.read_csv(folder / "table.csv").status) == {"failed"}
    before = set(trials(folder))

    process = start(tmp_path, "--resume", str(folder))
    until(lambda: len(trials(folder)) > len(before), LIMIT_S)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130 and "Traceback" not in text and nothing_left()

    code, text = run(tmp_path, "--resume", str(folder))
    assert code == 0, text
    after = trials(folder)
    assert before <= set(after) and len(after) == len(set(after)) == 2 * 6
    assert set(pd.read_csv(folder / "table.csv").status) == {"ok"}


def test_no_memory_for_the_kv_cache_is_reported_in_the_engines_words(model: str, tmp_path: Path) -> None:
    """One arm asks for 100 TB, the other for 64 MiB, through a free engine axis."""
    words = ("--batch-size", "2", "--block-size", "32", "--prefix-caching", "off")
    axis = ("--engine", f"kv_cache_memory_bytes={10**14},{1 << 26}")
    before = shared_memory()  # of others: what a killed engine left lies here until somebody removes it
    code, text = run(tmp_path, "--model", model, *SMALL, *words, *axis, **IN_PROCESS)
    table = pd.read_csv(only_run(tmp_path) / "table.csv").set_index("kv_cache_memory_bytes")
    assert code == 0, text
    assert table.status.to_dict() == {10**14: "refused", 1 << 26: "ok"}
    assert "less than requested memory for kv" in table.reason[10**14]
    assert nothing_left()
    until(lambda: shared_memory() <= before)


def test_truncated_weights_fail_with_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(default_model(), broken)
    with (broken / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 20)
    words = ("--batch-size", "1", "--block-size", "32", "--prefix-caching", "off")
    code, text = run(tmp_path / "out", "--model", str(broken), *words, **IN_PROCESS)
    assert code == 3, text
    assert "failed" in text and "afetensor" in text and "Traceback" not in text
    assert nothing_left()


def shared_memory() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith(("psm_", "enginescope-"))}


def test_an_unknown_engine_argument_or_value_is_one_line_with_the_nearest_name(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *SMALL, "--engine", "max_num_batched_tokenz=512")
    assert code == 2 and "did you mean 'max_num_batched_tokens'?" in text
    code, text = run(tmp_path, "--model", model, *SMALL, "--engine", "dtype=flaot32")
    assert code == 2 and "did you mean 'float32'?" in text
    assert not any(tmp_path.iterdir())


PROMPTS = [
    "1, 2, 3, 4, 5, 6, 7, 8,",
    "Monday, Tuesday, Wednesday,",
    "The capital of France is",
    "a b c d e f g h i j k",
    "Water boils at 100 degrees",
    "January, February, March, April,",
    "Once upon a time, there was a",
    "def add(a, b):\n    return",
]


def transformers_tokens(folder: Path, prompts: list[list[int]]) -> list[list[int]]:
    """transformers' own greedy output in float32: 16 tokens a prompt."""
    import torch  # here: every process that collects the tests would wait for it
    from transformers import AutoModelForCausalLM

    language_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = []
    for ids in prompts:
        with torch.no_grad():
            whole = language_model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)
        tokens.append(whole[0, len(ids) :].tolist())
    return tokens


def test_the_default_model_says_what_transformers_says(tmp_path: Path) -> None:
    """Greedy output in float32, token for token, on 8 prompts."""
    from transformers import AutoTokenizer

    folder, job = default_model(), tmp_path / "job.json"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    job.write_text(json.dumps({"model": str(folder), "ids": ids}))
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, str(ROOT / "tests" / "engine" / "greedy.py"), str(job)]
        engine = subprocess.Popen(command, env=os.environ | IN_PROCESS, stdout=subprocess.PIPE, stderr=log, text=True)
        reference = transformers_tokens(folder, ids)
        out, _ = engine.communicate(timeout=LIMIT_S)
    assert engine.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert json.loads(out.splitlines()[-1]) == reference
