"""The sweep on the real engine: the table of a whole run, and what it survives."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import psutil
import pytest

from probes.checkpoint import two_layer_model
from tests.engine.recording import FORKED
from tests.offline.sweep.sweeping import SMALL, nothing_left, only_run, records, run, shared_memory, start, trials
from tests.shells import until

pytestmark = [pytest.mark.engine, pytest.mark.slow(280)]
LIMIT_S = 900


@pytest.fixture(scope="module")
def model() -> str:
    return str(two_layer_model())


@pytest.fixture(scope="module")
def whole(model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run with an arm that the CPU backend refuses (block size 16) and one that it takes (32)."""
    out = tmp_path_factory.mktemp("whole")
    words = ("--batch-size", "1,4", "--block-size", "16,32", "--prefix-caching", "on", "--seed", "5", "--trace")
    with shared_memory() as used:
        code, text = run(out, "--model", model, *SMALL, *words)
    assert code == 0, text
    assert used
    until(lambda: not used & set(os.listdir("/dev/shm")))
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


def test_the_worker_has_the_kernel_that_is_timed_on_a_gpu_and_says_that_it_has_none(whole: tuple[Path, str]) -> None:
    (start,) = records(whole[0], "start")
    assert start["gpu_kernel_note"] == "the kernel is one of CUDA and ROCm, the engine runs on cpu"
    assert all(len(trial["reference_ns"]) == 2 and not trial["gpu_kernels"] for trial in records(whole[0]))
    assert "GPU" not in (whole[0] / "table.md").read_text().splitlines()[0]


def test_where_the_time_of_each_cell_goes_is_known_from_its_recorded_trial(whole: tuple[Path, str]) -> None:
    folder, batches = whole[0], {record["cell"]: len(record["requests"]) for record in records(whole[0])}
    traced = records(folder, "traced")
    assert {record["cell"]: record["times"]["requests"] for record in traced} == batches
    for record in traced:
        times = record["times"]
        assert times["cut"] == 0 and times["stages_ns"]["unexplained"] < 0.1 * sum(times["stages_ns"].values())
        assert {"forward", "logits", "sample", "schedule", "process outputs"} <= times["stages_ns"].keys()
        # 8 tokens: the first ones come from steps with a prompt in them, and the core closes with an empty step.
        assert 7 <= sum(steps["count"] for steps in times["steps"] if steps["kind"] != "empty") <= 9
    page = (folder / "report.html").read_text()
    assert "Where a cell's time goes" in page or "Where a cell&#39;s time goes" in page


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
    process = start(tmp_path, "--model", model, *SMALL, *words, "--repeats", "6", **FORKED)
    until(lambda: any(tmp_path.glob("*/*/*/run.json")) and len(trials(only_run(tmp_path))) >= 2, LIMIT_S)
    core = until(lambda: core_of(process.pid), LIMIT_S)
    assert core is not None
    core.kill()
    text, _ = process.communicate(timeout=LIMIT_S)
    folder = only_run(tmp_path)
    assert process.returncode == 3, text
    assert "failed: " in text and nothing_left()
    assert set(pd.read_csv(folder / "table.csv").status) == {"failed"}
    before = set(trials(folder))

    process = start(tmp_path, "--resume", str(folder), **FORKED)
    until(lambda: len(trials(folder)) > len(before), LIMIT_S)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130 and "Traceback" not in text and nothing_left()

    code, text = run(tmp_path, "--resume", str(folder), **FORKED)
    assert code == 0, text
    after = trials(folder)
    assert before <= set(after) and len(after) == len(set(after)) == 2 * 6
    assert set(pd.read_csv(folder / "table.csv").status) == {"ok"}
