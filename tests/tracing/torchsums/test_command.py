"""`python -m tracing.torchsums`: its tables by family, two folders compared, and its options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from probes.columns import dictionary, markdown
from tests.tracing.timeline.test_anatomy import STEP
from tests.tracing.timeline.test_anatomy import write as write_steps
from tests.tracing.torchsums import chrometraces
from tests.tracing.torchsums.chrometraces import event
from tests.tracing.torchsums.torchfolders import ANCHOR, OPERATORS
from tests.tracing.traces import TraceWriter
from tracing.torchsums import __main__ as torchsumscommand
from tracing.torchsums.operators import StepOperators

ROOT = Path(__file__).resolve().parents[3]


def stepped(folder: Path, attention_ns: int) -> Path:
    """Four steps of a core and a worker on two devices; each launches attention, and an all-reduce beside it."""
    write_steps(folder)
    TraceWriter(folder, 10, ["front end"]).close(anchor=ANCHOR | {"uncertainty_ns": 0})
    for rank in (0, 1):
        events = []
        for step in range(4):
            at, call = step * STEP + 320_000, 2 * step
            events += [
                event("cuda_runtime", "cudaLaunchKernel", at, at + 2000, correlation=call + 1),
                event("kernel", "flash_fwd_kernel", at + 5000, at + 5000 + attention_ns, 0, 7, correlation=call + 1),
                event("cuda_runtime", "cudaLaunchKernel", at + 2000, at + 4000, correlation=call + 2),
                event("kernel", "ncclDevKernel_AllReduce", at + 7000, at + 90_000, 0, 9, correlation=call + 2),
            ]
        chrometraces.write(folder / "torch" / f"rank{rank}.json", events)
    return folder


def test_the_kernels_of_steps_by_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert torchsumscommand.show(stepped(tmp_path, 30_000), None, None) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    families = [["communication", "1", "83.0", "µs", "73.45%"], ["attention", "1", "30.0", "µs", "26.55%"]]
    assert [line[1:] for line in shown if line[:1] == ["prefill"]] == [
        *families,
        ["2", "0", "2", "0", "0%"],  # a step on each of two devices; the second kernel began beside the first
        ["83.0", "µs", "55.0", "µs", "28.0", "µs", "66.27%"],
    ]


def test_two_folders_are_compared_by_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = (stepped(tmp_path / str(length), length) for length in (30_000, 50_000))
    assert torchsumscommand.compare(before, after) == 0
    sentence = capsys.readouterr().out.splitlines()[0]
    change = "+20.0 µs (+20.0 µs to +20.0 µs)"
    assert sentence == (f"The kernels of a prefill step take 133.0 µs, before 113.0 µs: {change}; attention {change}.")


def test_the_sums_are_printed_though_nothing_can_explain_their_csv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sums.csv.columns.md").mkdir()
    assert torchsumscommand.show(stepped(tmp_path / "trace", 30_000), None, tmp_path / "sums.csv") == 0
    out = capsys.readouterr().out
    assert "attention" in out and out.splitlines()[-1] == f"Wrote {tmp_path / 'sums.csv'}"


def test_the_command(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracing.torchsums", str(folder)]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert run().returncode == 2 and "holds no torch/" in run().stderr  # as in tracing.pyspy without samples
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS, base_ns=None)
    nothing = run()
    assert nothing.returncode == 1 and nothing.stdout == "" and nothing.stderr.count("\n") == 1
    assert "no baseTimeNanoseconds" in nothing.stderr
    chrometraces.write(folder / "torch" / "rank0.json", OPERATORS)
    done = run("--step", "5", "--csv", str(tmp_path / "sums.csv"))
    assert done.returncode == 0 and "aten::addmm" in done.stdout and "aten::empty" not in done.stdout
    header, *rows = (tmp_path / "sums.csv").read_text().splitlines()
    assert "operator,forward,5,3,340" in rows
    assert done.stdout.splitlines()[-2:] == [f"Wrote {tmp_path / name}" for name in ("sums.csv", "sums.csv.columns.md")]
    assert header.split(",") == [each.name for each in dictionary(StepOperators)]
    assert markdown(StepOperators) in (tmp_path / "sums.csv.columns.md").read_text()
    assert run("--step", "6").returncode == 2
