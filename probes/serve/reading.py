"""How long the weights of a model take to be read, before anything starts: their size over a speed measured now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from probes.hub.files import weight_names
from probes.memory.footprint import model_folder
from probes.metrics.table import seconds

SAMPLE_BYTES = 64 * 2**20
PIECE_BYTES = 2**20


@dataclass(frozen=True)
class WeightsReading:
    """`size_bytes` of files that are read at `speed_bytes_s`, as they lie: on a disk, or in the page cache already."""

    size_bytes: int
    speed_bytes_s: float

    def note(self) -> str:
        """An estimate in words."""
        took = seconds(self.size_bytes / self.speed_bytes_s)
        speed = f"{self.speed_bytes_s / 1e9:.2g} GB/s, measured on {SAMPLE_BYTES >> 20} MiB at most"
        return f"weights: {self.size_bytes / 2**30:.2f} GiB on disk, about {took} to read (an estimate: {speed})"


def reading_notes(model: str) -> list[str]:
    """What can be said before a start."""
    reading = weights_reading(model_folder(model))
    return [reading.note()] if reading else []


def weights_reading(folder: Path | None) -> WeightsReading | None:
    """Read a part of the largest file of those that vLLM loads; None where the model is not here or has none."""
    files = [folder / name for name in weight_names(folder)] if folder else []
    sizes = {path: path.stat().st_size for path in files if path.is_file()}
    if not sizes:
        return None
    read, took_s = _sample(max(sizes, key=sizes.__getitem__))
    return WeightsReading(sum(sizes.values()), read / took_s) if read else None


def _sample(path: Path) -> tuple[int, float]:
    """So many bytes, from the middle on, and the seconds that they took: the header was read by others before."""
    began, read = time.monotonic(), 0
    with path.open("rb", buffering=0) as file:
        file.seek(path.stat().st_size // 2)
        while read < SAMPLE_BYTES and (piece := file.read(PIECE_BYTES)):
            read += len(piece)
    return read, max(time.monotonic() - began, 1e-9)
