"""The comparison with plain PyTorch: who is frozen when, the same prompts on both sides, and what the table says."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from offline.baseline.__main__ import command_parser, measure
from offline.baseline.folder import BaselineRun, create, newest_unfinished, read_baseline_run
from offline.baseline.memory import peak_bytes
from offline.baseline.records import (
    TORCH,
    VLLM,
    SideMemory,
    SideRecord,
    SideStart,
    SideTrial,
    read_lines,
    write_line,
)
from offline.baseline.report import write
from offline.baseline.runner import SideRunner
from offline.baseline.table import BatchRow, batch_rows
from offline.spec.model import ModelMark
from probes.checkpoint import two_layer_model
from probes.columns import dictionary, markdown
from probes.errors import EnginescopeError
from probes.processes.engine import EngineFailed
from tests.needs import needs_vllm
from tests.offline.runs import MACHINE

S = 1_000_000_000
OWN = SimpleNamespace(members=lambda: [psutil.Process(os.getpid())])  # of a process, what a look at its memory needs


class FakeSide(ExitStack):
    """Answers as a side's process does, at ten or twenty tokens a second, and writes down what it was asked."""

    def __init__(self, side: str, said: list[str]) -> None:
        super().__init__()
        self.side, self.said, self.child = side, said, OWN

    def ask(self, command: dict[str, Any], limit_s: float) -> dict[str, Any]:
        if command["do"] == "start":
            return {"startup_s": 2.0} if self.side == TORCH else {"import_start_ns": 0, "ready_ns": 9 * S}
        batch, tokens = command["cell"]["batch_size"], command["cell"]["batch_size"] * command["cell"]["output_len"]
        self.said.append(f"{self.side} {command['do']} {batch} {command['seed']}")
        end_ns = tokens * S // (20 if self.side == VLLM else 10)
        request = {"generated_tokens": tokens // batch, "ttft_s": 0.5, "first_token_s": 1.0, "last_token_s": 1.5}
        return {"start_ns": 0, "end_ns": end_ns, "tokens": tokens, "requests": [request] * batch}

    def freeze(self) -> None:
        self.said.append(f"{self.side} frozen")

    def thaw(self) -> None:
        self.said.append(f"{self.side} thawed")

    def stop(self) -> None:
        self.said.append(f"{self.side} stopped")


def measured(tmp_path: Path, starts: int = 1) -> tuple[list[SideRecord], list[str]]:
    """The records of a run on two fake sides, and what happened in order."""
    said: list[str] = []
    runner = SideRunner(
        batches=(1, 4),
        input_len=8,
        output_len=10,
        rounds=2,
        settings={TORCH: {}, VLLM: {"kv_cache_memory_bytes": 1 << 20}},
        logs=tmp_path,
        limit_s=1.0,
        seed=0,
        keep=lambda record: write_line(tmp_path / "records.jsonl", record),
        progress=lambda _: None,
        open_process=lambda side, _: FakeSide(side, said),  # type: ignore[arg-type, return-value]
    )
    for start in range(1, starts + 1):
        runner.run(start)
    return read_lines(tmp_path / "records.jsonl"), said


def test_one_side_is_frozen_while_the_other_is_timed(tmp_path: Path) -> None:
    _, said = measured(tmp_path)
    awake: set[str] = set()  # both are frozen once they have been started
    timed = []
    for side, what in (each.split()[:2] for each in said[said.index("vllm frozen") + 1 :]):
        awake = awake | {side} if what == "thawed" else awake - {side} if what == "frozen" else awake
        timed += [(side, awake)] if what == "trial" else []
    assert timed and all(others == {side} for side, others in timed)


def test_both_sides_get_the_same_prompts_in_each_round(tmp_path: Path) -> None:
    _, said = measured(tmp_path)
    trials = {
        side: sorted(each.partition(" ")[2] for each in said if f"{side} trial" in each) for side in (TORCH, VLLM)
    }
    assert trials[TORCH] == trials[VLLM]
    assert len(set(trials[TORCH])) == 4  # two rounds of two batch sizes, never the same prompts


def test_the_table_of_known_sides(tmp_path: Path) -> None:
    records, _ = measured(tmp_path)
    one, four = batch_rows(records)
    assert (one.torch_tok_s, one.vllm_tok_s, one.factor) == (10, 20, pytest.approx(2))
    assert (four.torch_latency_s, four.vllm_latency_s) == (4.0, 1.0)
    assert (four.starts, four.rounds, four.interval) == (1, 2, "2 rounds of one start")
    assert one.torch_during_bytes is not None and one.torch_during_bytes > 1 << 20
    assert batch_rows(measured(tmp_path / "..", starts=2)[0])[0].interval == "2 starts"


def a_trial(side: str, rate: float, start: int = 1, number: int = 0) -> SideTrial:
    return SideTrial(side, start, number, 1, 0, 0, S, round(rate), (1.0,))


def test_a_factor_is_of_one_round_so_that_drift_falls_out() -> None:
    """The machine halves its speed in the second round: the factor stays two, and its interval is a point."""
    trials = [a_trial(TORCH, 100), a_trial(VLLM, 200), a_trial(TORCH, 50, number=1), a_trial(VLLM, 100, number=1)]
    row = batch_rows(trials)[0]
    assert (row.factor, row.factor_lo, row.factor_hi) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))


def test_the_replicate_is_a_start_where_there_is_more_than_one() -> None:
    trials = [
        a_trial(side, rate, start) for start in (1, 2) for side, rate in ((TORCH, 100), (VLLM, 100 + 100 * start))
    ]
    row = batch_rows(trials)[0]
    assert row.interval == "2 starts" and row.factor_lo is not None and row.factor_lo < 0.5 < 2 < row.factor


def test_a_single_round_has_no_interval() -> None:
    row = batch_rows([a_trial(TORCH, 100), a_trial(VLLM, 200)])[0]
    assert (row.factor_lo, row.factor_hi) == (None, None)


def test_a_side_that_never_ran_leaves_no_row() -> None:
    assert batch_rows([a_trial(VLLM, 200)]) == []


RUN = BaselineRun(
    id="20260101-000000-aaaaaa",
    command_line="python -m offline.baseline",
    model="m",
    model_path="org/m",
    model_mark=ModelMark(hub="org/m"),
    machine=MACHINE,
    batches=(1,),
    input_len=64,
    output_len=32,
    rounds=3,
    starts=1,
    seed=0,
    settings={TORCH: {}, VLLM: {}},
    began="2026-01-01T00:00:00+0000",
)


def test_the_folder_of_a_comparison(tmp_path: Path) -> None:
    path = create(tmp_path, RUN)
    mib = 1 << 20
    records = [
        SideStart(TORCH, 1, 2.0, 900 * mib, None),
        SideStart(VLLM, 1, 20.0, 3000 * mib, 512 * mib),
        SideMemory(TORCH, 1, 1, 900 * mib, 950 * mib, 910 * mib),
        SideMemory(VLLM, 1, 1, 3000 * mib, 3001 * mib, 3001 * mib),
        *(a_trial(side, rate, number=i) for i in range(2) for side, rate in ((TORCH, 100), (VLLM, 200))),
    ]
    lines = write(path, RUN, records)
    assert lines[2] == (
        "| 1 | 100.0 | 200.0 | 2.00 (2.00 to 2.00) | 1.00 | 1.00 | 900 / 950 / 910 | 3000 / 3001 / 3001 |"
    )
    assert "One request at a time: vLLM gave 2.00 times the tokens a second of transformers (2.00 to 2.00)." in lines
    assert "transformers: 900 MiB when ready; for keys and values it takes memory as a batch needs it." in lines
    assert "vllm: 3000 MiB when ready; for keys and values it reserves 512 MiB." in lines
    assert "Factors: throughput within a round, 95 % interval over 2 rounds of one start." in lines
    assert json.loads((path / "run.json").read_text())["kind"] == "baseline"
    header = (path / "table.csv").read_text().splitlines()[0].split(",")
    assert header == [each.name for each in dictionary(BatchRow)]
    explained = (path / "columns.md").read_text()
    for record in (BatchRow, SideStart, SideMemory, SideTrial):
        assert markdown(record) in explained
    assert "Memory is that of the processes" not in "\n".join(lines)
    assert "Memory is that of the processes" in "\n".join(
        write(path, replace(RUN, machine=replace(MACHINE, gpus=("a GPU",))), records)  # type: ignore[arg-type]
    )


def test_a_side_that_dies_ends_the_run_with_its_words(tmp_path: Path) -> None:
    class Dying(FakeSide):
        def ask(self, command: dict[str, Any], limit_s: float) -> dict[str, Any]:
            raise EngineFailed("RuntimeError: can't allocate memory")

    runner = SideRunner((1,), 8, 10, 1, {TORCH: {}, VLLM: {}}, tmp_path, 1.0, 0, lambda _: None, lambda _: None)
    runner.open_process = lambda side, _: Dying(side, [])  # type: ignore[assignment, return-value]
    with pytest.raises(EngineFailed, match="allocate"):
        runner.run(1)


def test_the_most_memory_of_a_block_is_seen() -> None:
    with peak_bytes(OWN) as looks:  # type: ignore[arg-type]
        held = bytearray(b"x") * (64 << 20)
    assert len(held) and max(looks) - looks[0] > 32 << 20


class FakeSides:
    """Opens fake sides; from its `dies_at`th trial on, all that they are asked kills the command's run."""

    def __init__(self, dies_at: int = 1_000, error: BaseException | None = None) -> None:
        self.said: list[str] = []
        self.dies_at, self.error = dies_at, error or KeyboardInterrupt()

    def __call__(self, side: str, _: Path) -> FakeSide:
        sides = self

        class Mortal(FakeSide):
            def ask(self, command: dict[str, Any], limit_s: float) -> dict[str, Any]:
                if command["do"] == "trial" and sum(" trial " in each for each in sides.said) == sides.dies_at:
                    raise sides.error
                return super().ask(command, limit_s)

        return Mortal(side, self.said)


def command(monkeypatch: pytest.MonkeyPatch, sides: FakeSides, *words: str) -> int:
    """The command on fake sides: batches of 1 and 4, two rounds, two starts, so 8 trials a start."""
    monkeypatch.setattr("offline.baseline.runner.open_side", sides)
    args = command_parser().parse_args(
        ["--model", str(two_layer_model()), "--load-format", "dummy", *("--batch-size", "1,4", "--rounds", "2"), *words]
    )
    return measure(args)


@needs_vllm
def test_an_interrupted_run_is_continued_with_the_starts_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--starts", "2", "--out", str(tmp_path))
    assert command(monkeypatch, FakeSides(dies_at=11), *out) == 130
    path = newest_unfinished(tmp_path)
    assert f"to continue: python -m offline.baseline --resume {path}" in capsys.readouterr().err
    with (path / "records.jsonl").open("a") as file:
        file.write('{"kind": "tri')  # as a kill leaves it

    assert command(monkeypatch, FakeSides(), "--resume", "--out", str(tmp_path)) == 0
    starts = [each.start for each in read_lines(path / "records.jsonl") if isinstance(each, SideTrial)]
    assert (starts.count(1), starts.count(2), starts.count(3)) == (8, 3, 8)
    assert read_baseline_run(path).state == "complete"
    text = capsys.readouterr().out
    assert "95 % interval over 2 starts" in text and "Starts that were cut off: 1" in text
    page = (path / "report.html").read_text()
    assert all(f'id="chart-{name}"' in page for name in ("factor", "throughput", "memory"))


@needs_vllm
def test_a_run_on_another_machine_is_not_continued(tmp_path: Path) -> None:
    path = create(tmp_path, replace(RUN, model_path=str(two_layer_model())))
    with pytest.raises(EnginescopeError, match=r"cannot be resumed, it would not be the same run: .*EPYC"):
        measure(command_parser().parse_args(["--resume", str(path)]))


@needs_vllm
def test_a_side_that_fails_is_told_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = FakeSides(dies_at=3, error=EngineFailed("RuntimeError: can't allocate memory"))
    assert command(monkeypatch, sides, "--out", str(tmp_path)) == 3
    run = read_baseline_run(newest_unfinished(tmp_path))
    assert (run.state, run.reason) == ("incomplete", "RuntimeError: can't allocate memory")
    assert "The run is incomplete: RuntimeError: can't allocate memory." in capsys.readouterr().out


def test_a_damaged_run_does_not_hide_the_one_to_continue(tmp_path: Path) -> None:
    path = create(tmp_path, RUN)
    damaged = create(tmp_path, replace(RUN, id="20260102-000000-aaaaaa"))
    (damaged / "run.json").write_text('{"schema": 2')
    create(tmp_path, replace(RUN, id="20260103-000000-aaaaaa", state="complete"))
    assert newest_unfinished(tmp_path) == path
