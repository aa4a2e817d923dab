"""Runs of different times against each other, from their folders, and the check for CI."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offline.compare.__main__ import main
from offline.compare.gate import check
from offline.compare.runs import unlikeness
from offline.differences.difference import Difference
from offline.records.kernelreading import KernelReading
from offline.records.lines import TrialRecord
from offline.records.run import PlannedArm, RunRecord
from offline.records.runfolder import RunFolder
from offline.records.runformat import RUNS
from offline.spec.grid import Arm, arms
from offline.spec.spec import Spec
from probes.errors import run_main
from tests.offline.armrecords import MS, started, trial
from tests.offline.differences.simulatedruns import Setting
from tests.offline.differences.simulatedruns import compared as simulated
from tests.offline.runs import MACHINE, a_run

SPEC = Spec(
    batch_size=(2,),
    block_size=(32, 64),
    prefix_caching=("off",),
    input_len=(8,),
    output_len=(3,),
    shared_prefix_len=(4,),
)
# Speeds of the two starts of each of the two arms, a percent apart.
SPREAD = {1: 1.0, 2: 1.01, 3: 1.005, 4: 0.995}


def run_folder(
    out: Path,
    name: str,
    slower: float = 1.0,
    kernel: float = 1.0,
    gpu_kernel: float = 0.0,
    settings: dict[str, Any] | None = None,
    engines: tuple[int, ...] = (1, 2, 3, 4),
    **changes: Any,
) -> Path:
    """A run of two arms, two starts each and three rounds, whose trials take `slower` times as long as 300 ms."""
    grid = arms(SPEC, {"model": "m", "dtype": "float32"} | (settings or {}))
    changes = {"spec": SPEC, "state": "complete"} | changes
    run: RunRecord = a_run(id=name, arms={arm.id: PlannedArm(arm.name, arm.settings) for arm in grid}, **changes)
    folder = RunFolder.create(out, run)
    for engine in engines:
        arm = grid[engine % 2]
        folder.append(started(arm=arm.id, engine=engine, name=arm.name))
        for number in range(3):
            folder.append(
                _trial(arm, engine, number, slower * SPREAD[engine] * (1 + number / 1000), kernel, gpu_kernel)
            )
    folder.close()
    return folder.path


def _trial(arm: Arm, engine: int, number: int, slower: float, kernel: float, gpu_kernel: float) -> TrialRecord:
    (cell,) = arm.cells
    kernel_ns, group = int(30 * MS * kernel), (engine - 1) // 2
    record = trial(cell, number + 3 * group, engine=engine, round=number, group=group, end_ns=int(300 * MS * slower))
    part_ns = (int(MS * gpu_kernel),)
    readings = (KernelReading("H100", "GPU-a", part_ns, part_ns),) if gpu_kernel else ()
    identity = {"arm": arm.id, "cell": arm.cell_id(cell)}
    return replace(record, **identity, reference_ns=(kernel_ns, kernel_ns), gpu_kernels=readings)


Compare = Callable[..., tuple[int, str]]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    """The command, in this process: its exit code and what it printed, with spaces folded."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["offline.compare", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_main(main)
        text = "".join(capsys.readouterr())
        return int(ended.value.code or 0), "\n".join(" ".join(line.split()) for line in text.splitlines())

    return run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("base"), "a")


def test_the_same_twice_shows_no_difference(compared: Compare, base: Path, tmp_path: Path) -> None:
    code, text = compared(base, run_folder(tmp_path, "b"))
    assert code == 0
    assert "all b 1.000" in text and "block_size=64 prefix_caching=off b 1.000" in text
    assert text.splitlines()[1].startswith("b against a, all cells together: output_tok_s 1.000 of before (")
    assert text.count("no difference seen (could have found") == 4


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("interrupted", "b was interrupted: 3 of 4 starts, 9 of 12 trials."),
        ("running", "b was killed, or is still being measured: 3 of 4 starts, 9 of 12 trials."),
    ],
)
def test_a_run_that_did_not_come_to_its_end_is_named_first(
    state: str, said: str, compared: Compare, base: Path, tmp_path: Path
) -> None:
    spec = replace(SPEC, starts=2, repeats=3)
    code, text = compared(base, run_folder(tmp_path, "b", engines=(1, 2, 3), spec=spec, state=state))
    assert code == 0 and text.splitlines()[0] == said
    assert "b against a, all cells together: output_tok_s " in text


def test_where_all_arms_have_one_start_nothing_is_compared(compared: Compare, tmp_path: Path) -> None:
    one, other = (run_folder(tmp_path, name, engines=(1, 2)) for name in "ab")
    assert "not comparable (one start of each arm: nothing is known" in compared(one, other)[1]


def test_a_run_is_not_compared_with_itself(compared: Compare, base: Path) -> None:
    code, text = compared(base, base / ".." / base.name)
    assert (code, text) == (2, "error: a run is named twice: compared with itself it says nothing")


def test_a_slower_run_is_slower_in_every_cell_and_fails_the_check(
    compared: Compare, base: Path, tmp_path: Path
) -> None:
    after = run_folder(tmp_path, "b", slower=1.25)
    code, text = compared(base, after, "--fail-if-slower", "3%")
    assert code == 4 and text.count(" slower") >= 3 and "all b 0.800" in text
    assert "Slower by more than 3.0%: all (output_tok_s 0.800 of before)" in text
    assert compared(base, after, "--metric", "ttft_s_p50")[0] == 0  # no check was asked for


def test_a_bound_that_these_runs_could_not_tell_is_inconclusive(compared: Compare, base: Path, tmp_path: Path) -> None:
    code, text = compared(base, run_folder(tmp_path, "b"), "--fail-if-slower", "0.1%")
    assert code == 5 and "Inconclusive: 3 of 3 rows could not have shown a difference of 0.1%" in text
    assert compared(base, run_folder(tmp_path, "c"), "--fail-if-slower", "20%")[0] == 0


def test_a_machine_that_moved_widens_the_interval_and_past_the_bound_nothing_is_compared(
    compared: Compare, base: Path, tmp_path: Path
) -> None:
    code, text = compared(base, run_folder(tmp_path, "b", slower=1.05, kernel=1.05))
    assert code == 0 and text.count("no difference seen") == 4
    code, text = compared(base, run_folder(tmp_path, "c", slower=1.2, kernel=1.2), "--fail-if-slower", "3%")
    assert code == 5 and "not comparable (the machine moved by 20%)" in text


def test_where_both_runs_timed_the_kernel_on_the_gpu_it_tells_how_the_machine_moved(
    compared: Compare, tmp_path: Path
) -> None:
    before, moved = run_folder(tmp_path, "a", gpu_kernel=1.0), run_folder(tmp_path, "b", kernel=1.2, gpu_kernel=1.0)
    assert compared(before, moved)[1].count("no difference seen (could have found") == 4
    assert "not comparable (the machine moved by 20%)" in compared(before, run_folder(tmp_path, "c", gpu_kernel=1.2))[1]
    assert "not comparable (the machine moved by 20%)" in compared(before, run_folder(tmp_path, "d", kernel=1.2))[1]


def test_what_differs_is_named_unless_it_is_declared(compared: Compare, base: Path, tmp_path: Path) -> None:
    newer = run_folder(tmp_path, "b", slower=1.25, machine=replace(MACHINE, vllm="0.33.0"))
    assert "not comparable (vllm: '0.32.0' and '0.33.0')" in compared(base, newer)[1]
    assert "all b 0.800" in compared(base, newer, "--axis", "vllm")[1]
    forced = compared(base, newer, "--force")[1]
    assert "all b 0.800" in forced and forced.count("slower (forced: vllm: '0.32.0' and '0.33.0')") == 4


def test_an_engine_argument_is_an_axis(compared: Compare, base: Path, tmp_path: Path) -> None:
    other = run_folder(tmp_path, "b", settings={"dtype": "bfloat16"})
    code, text = compared(base, other)
    assert code == 0 and "not comparable (only in a)" in text and "not comparable (only in b)" in text
    assert "all b 1.000" in compared(base, other, "--axis", "dtype")[1]


def test_an_axis_that_a_run_varies_itself_is_refused(compared: Compare, base: Path) -> None:
    code, text = compared(base, base, "--axis", "block_size")
    assert code == 2 and "varies block_size itself" in text


def test_a_run_with_the_recorders_hooks_is_not_compared_with_one_without() -> None:
    plain, traced = a_run(spec=SPEC), a_run(spec=replace(SPEC, trace=True))
    assert unlikeness(plain, traced, ()) == ["trace: the recorder's hooks are in place in one of the runs"]
    assert unlikeness(plain, traced, ["trace"]) == unlikeness(traced, traced, ()) == []


def test_wrong_usage_is_one_line(compared: Compare, base: Path, tmp_path: Path) -> None:
    assert compared(base, tmp_path) == (2, f"error: {tmp_path} is not a run: it has no run.json; {RUNS} has one")
    assert compared(base, base, "--axis", "block_sise") == (
        2,
        "error: --axis block_sise: none of the runs has a setting or a field of that name; did you mean 'block_size'?",
    )
    assert compared(base, base, "--metric", "speed")[0] == 2
    assert compared(base, base, "--fail-if-slower", "lots")[0] == 2


def row(lo: float, hi: float, detectable: float, metric: str = "output_tok_s") -> Difference:
    return Difference("run", "a", "b", "all", metric, (lo * hi) ** 0.5, lo, hi, detectable, "")


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([row(0.90, 0.96, 1.03)], 4),
        ([row(0.90, 0.98, 1.03)], 0),
        ([row(1.04, 1.10, 1.03, "ttft_s_p50")], 4),
        ([row(0.99, 1.01, 1.05)], 5),
        ([row(0.99, 1.01, 1.05), row(0.80, 0.85, 1.05)], 4),
        ([row(float("nan"), float("nan"), float("nan"))], 5),
        ([], 5),
    ],
)
def test_exit_codes_of_the_check(rows: list[Difference], code: int) -> None:
    assert check(rows, 0.03).code == code


@pytest.mark.parametrize("disturbance", [{}, {"drift": "step"}, {"stalls": True}])
def test_equal_runs_differ_in_at_most_one_comparison_of_twenty(disturbance: dict[str, Any]) -> None:
    """The machine moves between the runs, as its kernel says with a spread of its own."""
    setting = Setting(0.0, 0.01, moved=0.03, batch_sizes=(1, 8), **disturbance)
    assert simulated(setting, 200, 20260106).false_lower_bound <= 0.05


@pytest.mark.parametrize("cell", [0, -1], ids=["cold", "warm"])
def test_a_cell_whose_starts_scatter_more_does_not_differ_from_run_to_run(cell: int) -> None:
    """Its variance is that of all arms in this cell: with one for all cells, or for each arm, it was 12 to 15 %."""
    setting = Setting(0.01, 0.01, noisy=10.0, noisy_cell=cell)
    assert simulated(setting, 200, 20260106).false_lower_bound <= 0.05
