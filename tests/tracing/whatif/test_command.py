"""The command before and after its engine: what is refused, and an engine that does not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from probes.errors import USAGE, EnginescopeError
from tracing.shapes.shape import SHAPES, shape_named
from tracing.whatif.__main__ import can_be_measured, main
from tracing.whatif.engine import started
from tracing.whatif.engine.started import loaded_engine

ROOT = Path(__file__).resolve().parents[3]
# What a spawned process has for its main module, where the program was started as the load is.
SPAWNING = """
import multiprocessing, sys
from tracing.whatif.engine import load
sys.modules["__main__"] = load
process = multiprocessing.get_context("spawn").Process(target=exec, args=(
    "import sys; print(sys.modules['__mp_main__'].__spec__.name)",))
process.start()
process.join()
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--streams", "0"], "--streams 0 is no load"),
        (["--budget", "5"], "--budget 5: it takes seconds, 10 at least"),
        (["--budget", "inf"], "--budget inf: it takes seconds, 10 at least"),
        (["--stages", "schedule,tokenize"], "no stage 'tokenize' can be delayed"),
        (["--device-ms", "fast"], "--device-ms takes one time or three"),
        (["--rate", "0"], "--rate takes requests a second, above 0"),
        (["--rate", "inf"], "--rate takes requests a second, above 0"),
        (["--rate", "5", "--streams", "8"], "--rate takes requests a second, above 0, in place of --streams"),
        (["--rate", "5", "--shape", "two-front-ends"], "two-front-ends is a server under streams"),
        (["--device-ms", "5", "--shape", "two-front-ends"], "two-front-ends is a server under streams"),
        (["--page", "nowhere/page.html"], "--page: there is no folder nowhere"),
        (["--"], "name one engine"),
        (["4711", "--", "python", "my.py"], "name one engine"),
        (["4711", "--model", "default", "--rate", "5"], "--model, --rate: 4711 brings an engine and a load of its own"),
        (["--shape", "cpu", "--", "python"], "--shape: the command brings an engine and a load of its own"),
        (["--yes-slow-it-down"], "--yes-slow-it-down is for an engine that runs already"),
        (["4711"], "4711 runs already, and its clients would wait longer: --yes-slow-it-down permits that"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_an_engine_starts(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["whatif", *options])
    with pytest.raises(EnginescopeError, match=message) as refused:
        main()
    assert refused.value.code == USAGE


def test_the_shapes_whose_load_is_streams_of_one_core() -> None:
    names = [name for name, shape in SHAPES.items() if can_be_measured(shape)]
    of_gpus = ["one-gpu", "one-gpu-device", "tp2", "tp2-async", "two-front-ends", "server", "fork"]
    others = ["v2-one-gpu", "v2-tp2", "priority", "windows", "compiled", "straggler"]
    assert names == ["cpu", "async", *of_gpus, *others]


def test_an_engine_that_does_not_start_gives_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(started, "ENTRY", "raise ValueError('no such model')")
    with (
        pytest.raises(EnginescopeError, match="the engine did not start: ValueError: no such model"),
        loaded_engine(shape_named("cpu"), 8, 0.0, "", tmp_path / "log"),
    ):
        raise AssertionError("nothing to measure")


def test_the_engines_processes_import_the_load_again() -> None:
    """By that they take its shape; of a program without a name, or of a package, they would import nothing."""
    done = subprocess.run([sys.executable, "-c", SPAWNING], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "tracing.whatif.engine.load\n", done.stderr
