"""What the sweep says where the real engine cannot start, all in one process: its split is not what is tested."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from probes.checkpoint import default_model, two_layer_model
from tests.engine.recording import IN_PROCESS
from tests.offline.sweep.sweeping import SMALL, nothing_left, only_run, run, shared_memory
from tests.shells import until

pytestmark = [pytest.mark.engine, pytest.mark.slow(130)]


@pytest.fixture(scope="module")
def model() -> str:
    return str(two_layer_model())


def test_no_memory_for_the_kv_cache_is_reported_in_the_engines_words(model: str, tmp_path: Path) -> None:
    """One arm asks for 100 TB, the other for 64 MiB, through a free engine axis."""
    words = ("--batch-size", "2", "--block-size", "32", "--prefix-caching", "off")
    axis = ("--engine", f"kv_cache_memory_bytes={10**14},{1 << 26}")
    with shared_memory() as used:
        code, text = run(tmp_path, "--model", model, *SMALL, *words, *axis, **IN_PROCESS)
    table = pd.read_csv(only_run(tmp_path) / "table.csv").set_index("kv_cache_memory_bytes")
    assert code == 0, text
    assert table.status.to_dict() == {10**14: "refused", 1 << 26: "ok"}
    assert "less than requested memory for kv" in table.reason[10**14]
    assert nothing_left()
    until(lambda: not used & set(os.listdir("/dev/shm")))


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


def test_an_unknown_engine_argument_or_value_is_one_line_with_the_nearest_name(model: str, tmp_path: Path) -> None:
    code, text = run(tmp_path, "--model", model, *SMALL, "--engine", "max_num_batched_tokenz=512")
    assert code == 2 and "did you mean 'max_num_batched_tokens'?" in text
    code, text = run(tmp_path, "--model", model, *SMALL, "--engine", "dtype=flaot32")
    assert code == 2 and "did you mean 'float32'?" in text
    assert not any(tmp_path.iterdir())
