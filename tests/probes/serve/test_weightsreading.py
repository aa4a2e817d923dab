"""How long the weights take to be read: their size and a speed that was measured."""

from __future__ import annotations

from pathlib import Path

from probes.serve.reading import WeightsReading, weights_reading


def test_the_size_of_all_files_and_the_speed_of_the_largest(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-1.safetensors").write_bytes(bytes(3_000_000))
    (tmp_path / "model-2.safetensors").write_bytes(bytes(1_000_000))
    reading = weights_reading(tmp_path)
    assert reading is not None and reading.size_bytes == 4_000_000 and reading.speed_bytes_s > 0


def test_what_vllm_does_not_load_or_is_not_whole_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(1_000_000))
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(3_000_000))
    (tmp_path / "more.safetensors").symlink_to(tmp_path / "gone")
    reading = weights_reading(tmp_path)
    assert reading is not None and reading.size_bytes == 1_000_000


def test_a_model_that_is_not_here_or_has_no_weights(tmp_path: Path) -> None:
    assert weights_reading(None) is None and weights_reading(tmp_path) is None
    (tmp_path / "model.safetensors").touch()
    assert weights_reading(tmp_path) is None


def test_the_note() -> None:
    note = WeightsReading(15 * 2**30, 0.5e9).note()
    assert note.startswith(
        "weights: 15.00 GiB on disk, about 32.2 s to read (an estimate: 0.5 GB/s, measured on 64 MiB"
    )
