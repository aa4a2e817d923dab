"""What a sweep survives, on real processes with a stand-in for vLLM (so that an engine starts in no time)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from offline.table.frames import read
from tests.offline.sweep.kills import kill_and_continue
from tests.offline.sweep.sweeping import GRID, SMALL, nothing_left, only_run, records, run, start, trials
from tests.shells import until
from tracing import timeline

pytestmark = pytest.mark.slow(220)
LIMIT_S = 300
ALL_TRIALS = 2 * 2 * 3


@pytest.fixture(scope="module")
def whole(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to: to be read, or copied."""
    out = tmp_path_factory.mktemp("whole")
    code, text = run(out, "--model", model, *GRID, fake=True)
    assert code == 0, text
    assert text.splitlines()[-1] == f"Wrote {only_run(out)}"
    return only_run(out)


@pytest.fixture(scope="module")
def undisturbed(whole: Path) -> set[tuple[str, int, int]]:
    """Its trials."""
    return set(trials(whole))


def test_a_run_measures_every_trial_once(undisturbed: set[tuple[str, int, int]]) -> None:
    assert len(undisturbed) == ALL_TRIALS


def test_arms_take_turns_in_every_round_and_each_group_has_engines_of_its_own(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *GRID, "--starts", "2", fake=True)
    assert code == 0 and "Arms took turns" in text, text
    trials_of = sorted(records(only_run(tmp_path)), key=lambda record: record["start_ns"])
    assert [(record["group"], record["round"]) for record in trials_of[::4]] == [(1 + n // 3, n) for n in range(6)]
    for one in (trials_of[first : first + 2] for first in range(0, 24, 2)):  # a cell in one arm, then in the other
        assert len({record["arm"] for record in one}) == 2
        assert len({len(record["requests"]) for record in one}) == 1
    assert {record["engine"] for record in trials_of if record["group"] == 1} == {1, 2}
    assert {record["engine"] for record in trials_of if record["group"] == 2} == {3, 4}
    assert nothing_left()


def test_temperatures_are_cells_of_one_engine_and_reach_its_sampler(model: str, tmp_path: Path) -> None:
    """A step of the stand-in takes 1 ms, and at temperature 19 at least 20."""
    words = ("--model", model, *GRID, "--batch-size", "1", "--temperature", "0,19")
    code, text = run(tmp_path, *words, fake=True)
    assert code == 0 and "temperature    0.0,19.0 (0 is greedy), random numbers by the engine's seed" in text, text
    frame = read(only_run(tmp_path)).trials
    assert frame["temperature"].value_counts().to_dict() == {0.0: 6, 19.0: 6}
    assert frame.query("temperature == 19")["elapsed_s"].min() >= 6 * 0.020


def test_an_adaptive_run_adds_starts_until_the_budget_is_used(model: str, tmp_path: Path) -> None:
    words = ("--starts", "2", "--until", "0.01%", "--budget", "10s", "--repeats", "1")
    code, text = run(tmp_path, "--model", model, *GRID, *words, fake=True)
    assert code == 0 and "the budget of 10 s does not hold another start" in text, text
    measured = records(only_run(tmp_path))
    assert len({record["group"] for record in measured}) >= 2
    assert len(trials(only_run(tmp_path))) == len(set(trials(only_run(tmp_path))))
    assert ",interrupted," not in (only_run(tmp_path) / "table.csv").read_text()


def test_killed_at_eight_places_nothing_is_lost_and_nothing_is_run_twice(
    model: str, undisturbed: set[tuple[str, int, int]], tmp_path: Path
) -> None:
    """`tests/bench/killed_sweeps.py` kills a hundred."""
    kills = kill_and_continue(tmp_path, ["--model", model, *GRID], undisturbed, count=8, seed=20, fake=True)
    assert kills.torn, "no kill fell into a write: the test does not show what it should"


def test_ctrl_c_ends_with_130_and_can_be_resumed(
    model: str, undisturbed: set[tuple[str, int, int]], tmp_path: Path
) -> None:
    process = start(tmp_path, "--model", model, *GRID, fake=True)
    until(lambda: any(tmp_path.glob("*/*/*/run.json")) and len(trials(only_run(tmp_path))) >= 2, LIMIT_S)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    words = f"INTERRUPTED: this run did not come to its end; python -m offline.sweep --resume {only_run(tmp_path)} "
    assert text.count("--resume") == 1 and words in text and text.splitlines()[-1].startswith("Wrote ")
    assert "Traceback" not in text
    assert nothing_left()
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["state"] == "interrupted"
    assert "interrupted" in (only_run(tmp_path) / "table.csv").read_text()
    assert (only_run(tmp_path) / "table.md").read_text().startswith("INTERRUPTED: ")
    code, text = run(tmp_path, "--resume", fake=True)
    assert code == 0 and "INTERRUPTED" not in (only_run(tmp_path) / "table.md").read_text(), text
    assert set(trials(only_run(tmp_path))) == undisturbed


def test_recorded_trials_come_last_in_each_start_and_an_interrupted_run_does_the_missing_ones(
    model: str, undisturbed: set[tuple[str, int, int]], tmp_path: Path
) -> None:
    process = start(tmp_path, "--model", model, *GRID, "--trace", fake=True)
    until(lambda: any(tmp_path.glob("*/*/*/run.json")) and len(records(only_run(tmp_path), "traced")) >= 2, LIMIT_S)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130 and nothing_left(), text
    code, text = run(tmp_path, "--resume", fake=True)
    assert code == 0, text
    folder = only_run(tmp_path)
    traced = records(folder, "traced")
    assert sorted((record["cell"], record["start"]) for record in traced) == sorted({(c, 0) for c, *_ in undisturbed})
    assert set(trials(folder)) == undisturbed  # the same trials with the same prompts as without a recorder
    for record in traced:
        assert {steps["kind"]: steps["count"] for steps in record["times"]["steps"]} == {
            **{"prefill": 1, "first decode": 1, "decode": 4},
        }
        timed = [each for each in records(folder) if each["engine"] == record["engine"]]
        assert all(each["end_ns"] < record["start_ns"] for each in timed)
        windows = [(each["start_ns"], each["end_ns"]) for each in traced if each["engine"] == record["engine"]]
        spans = timeline.read(folder / record["folder"]).spans.query("site == 'scheduler.schedule'")["start_ns"]
        assert len(spans) == 6 * len(windows)  # nothing but the recorded trials
        assert all(any(begin <= moment < end for begin, end in windows) for moment in spans)


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.5])
def test_an_interrupt_from_the_first_moment_of_the_folder_says_how_to_continue(
    model: str, tmp_path: Path, delay_s: float
) -> None:
    process = start(tmp_path, "--model", model, *GRID, fake=True, FAKE_START_S="60")
    until(lambda: any(tmp_path.glob("*/*/*/run.json")), LIMIT_S)
    time.sleep(delay_s)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=LIMIT_S)
    folder = only_run(tmp_path)
    assert process.returncode == 130 and nothing_left()
    assert f"python -m offline.sweep --resume {folder} continues it." in text
    assert json.loads((folder / "run.json").read_text())["state"] == "interrupted"


def test_an_arm_that_hangs_is_killed_and_the_others_go_on(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *GRID, "--time-limit", "10", fake=True, FAKE_HANG_BLOCK="64")
    assert code == 3, text
    assert "no answer within 10 s; killed" in text
    assert nothing_left()
    table = (only_run(tmp_path) / "table.csv").read_text()
    assert table.count(",ok,") == 2 and table.count(",failed,") == 2


def test_an_arm_that_dies_fails_alone(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *GRID, fake=True, FAKE_DYING_BLOCK="64")
    assert code == 3, text
    assert nothing_left()
    table = (only_run(tmp_path) / "table.csv").read_text()
    assert table.count(",ok,") == 2 and table.count(",failed,") == 2


@pytest.mark.parametrize(("blocks", "code"), [("32", 0), ("32,64", 3)])
def test_some_cells_may_be_refused_but_not_all(model: str, tmp_path: Path, blocks: str, code: int) -> None:
    ended, text = run(tmp_path, "--model", model, *GRID, fake=True, FAKE_REFUSE_BLOCKS=blocks)
    assert ended == code and "cells refused: ValueError: No common block size for 32" in text
    assert (only_run(tmp_path) / "table.csv").read_text().count(",refused,") == 2 * len(blocks.split(","))


def test_progress_goes_to_standard_error_and_the_table_fits(model: str, tmp_path: Path) -> None:
    process = start(tmp_path, "--model", model, *GRID, fake=True, stderr=subprocess.PIPE, COLUMNS="72")
    table, progress = process.communicate(timeout=60)
    assert process.returncode == 0, progress
    assert table.splitlines()[-1] == f"Wrote {only_run(tmp_path)}" and "12/12" in progress and "12/12" not in table
    assert table.startswith("Highest throughput: ")
    assert all(len(line) <= 72 and line == line.rstrip() for line in table.splitlines()[:-1])


def test_a_full_standard_output_loses_nothing(model: str, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        process = start(tmp_path, "--model", model, *GRID, fake=True, stdout=full, stderr=subprocess.PIPE)
        _, progress = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in progress
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["state"] == "complete"
    assert (only_run(tmp_path) / "table.md").exists()


def test_two_sweeps_into_one_folder_the_second_is_refused(model: str, tmp_path: Path) -> None:
    first = start(tmp_path, "--model", model, *GRID, fake=True, FAKE_START_S="60")
    until(lambda: any(tmp_path.glob("*/*/*/run.json")), LIMIT_S)
    code, text = run(tmp_path, "--resume", str(only_run(tmp_path)), fake=True)
    assert code == 1 and "is being written by another sweep" in text
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=LIMIT_S)
    assert first.returncode == 130 and nothing_left()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch-size", "1,2"), "batch_size: [1, 3] in the run, [1, 2] now"),
        (("--seed", "7"), "seed: 0 in the run, 7 now"),
    ],
)
def test_resuming_as_another_run_is_refused_with_the_difference(
    whole: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, text = run(tmp_path, "--resume", str(whole), *words, fake=True)
    assert code == 1 and said in text


def test_resuming_with_another_model_or_vllm_is_refused(whole: Path, tmp_path: Path) -> None:
    file = shutil.copytree(whole, tmp_path / "run") / "run.json"
    before = json.loads(file.read_text())
    file.write_text(json.dumps(before | {"machine": before["machine"] | {"vllm": "0.31.0"}}))
    code, text = run(tmp_path, "--resume", str(file.parent), fake=True)
    assert code == 1 and "vllm: '0.31.0' and" in text
    code, text = run(tmp_path, "--resume", str(file.parent), "--force", fake=True)
    assert code == 0 and "FORCED: parts of this run were measured under other conditions: vllm: '0.31.0' and" in text
    assert (file.parent / "table.md").read_text().startswith("FORCED: ")
    code, text = run(tmp_path, "--resume", str(file.parent), "--force", "--seed", "7", fake=True)
    assert code == 1 and "seed: 0 in the run, 7 now" in text
    file.write_text(json.dumps(before | {"model_mark": {"config_sha256": "another", "weights_bytes": {}}}))
    code, text = run(tmp_path, "--resume", str(file.parent), fake=True)
    assert code == 1 and "model: configuration another with 0 bytes of weights in the run" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs takes root")
def test_a_full_disk_loses_no_finished_trial(
    model: str, undisturbed: set[tuple[str, int, int]], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], check=True)
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * (132 << 10))
        code, text = run(disk, "--model", model, *GRID, fake=True)
        assert code == 1 and "No space left on device" in text and "--resume" in text
        assert "Traceback" not in text
        assert nothing_left()
        saved = set(trials(only_run(disk)))
        assert (only_run(disk) / "records.jsonl").read_bytes()[-1:] in (b"\n", b"")
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        code, text = run(disk, "--resume", fake=True)
        assert code == 0, text
        assert saved <= set(trials(only_run(disk))) == undisturbed
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "/no/such/folder"), "no such folder, and not a hub id"),
        (("--batch-size", "0"), "error: --batch-size must be 1 or more, not 0"),
        (("--cache-state", "warm", "--prefix-caching", "off"), "--cache-state warm exists only with"),
        (("--cache-state", "hot"), "error: --cache-state is one of cold, warm, not 'hot'"),
        (("--engine", "block_size=16"), "--engine block_size is set by --block-size"),
        (("--engine", "dtype"), "--engine takes KEY=VALUE"),
        (("--spec", "/no/such.toml"), "cannot read the spec"),
        (("--input-len", "10", "--shared-prefix-len", "10"), "must be shorter than --input-len"),
        (("--time-limit", "0"), "argument --time-limit: expected a time above zero, not '0'"),
        (("--bogus",), "unrecognized arguments: --bogus"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(model: str, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, text = run(tmp_path, "--model", model, "--load-format", "dummy", *words, fake=True)
    assert code == 2 and said in text and "Traceback" not in text
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_no_model_is_bad_usage(tmp_path: Path) -> None:
    code, text = run(tmp_path / "out", "--model", str(tmp_path), fake=True)
    assert code == 2 and "not a model: it has no config.json" in text


def test_the_plan_measures_nothing(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *GRID, "--plan", fake=True)
    assert code == 0 and "2 engine configurations" in text and "estimate" in text
    assert not any(tmp_path.iterdir())


def test_records_hold_what_later_pages_need(whole: Path) -> None:
    for record in records(whole):
        steps = [dict(zip(record["step_fields"], values, strict=True)) for values in record["steps"]]
        assert sum(step["kind"] == 0 for step in steps) == 6
        assert record["end_ns"] - record["start_ns"] > 6e6 and len(record["reference_ns"]) == 2
        assert sum(request["generated_tokens"] for request in record["requests"]) == record["asked_tokens"]
        assert not {name for name in record if "tok_s" in name or "elapsed" in name}  # derived on reading


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (
            "H100",
            "The reference kernel on the GPU took 3.0 ms and moved 0.0% between single trials "
            "(5th to 95th percentile); "
            "with one arm, drift between arms is not known. Compute clock 1,980 MHz, memory clock not told; "
            "held down by power cap in 4 of 4 readings. On the CPU beside it:",
        ),
        (
            "failing",
            "GPU drift not measured: RuntimeError: enginescope_device_kernel failed: CUDA error.",
        ),
    ],
)
def test_the_drift_of_a_gpu(gpu: str, words: str, model: str, tmp_path: Path) -> None:
    one = ("--batch-size", "1", "--block-size", "32", "--prefix-caching", "off")
    code, text = run(tmp_path, "--model", model, *SMALL, *one, fake=True, FAKE_GPU=gpu)
    assert code == 0 and words in " ".join(text.split()), text
    assert words in (only_run(tmp_path) / "table.md").read_text().splitlines()[0]
    assert all(len(record["gpu_kernels"]) == 2 * (gpu == "H100") for record in records(only_run(tmp_path)))
