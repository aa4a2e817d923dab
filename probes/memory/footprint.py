"""Where bytes are: of a process, as the kernel counts them; of a model, as its files say; of a KV cache, by arithmetic.

All sizes are in bytes. Reading a large process's map takes some milliseconds in which that process cannot change it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from probes.hub.files import safetensors_header, weight_names
from probes.hub.hubmodel import ModelFile
from probes.hub.settings import hub_settings, model_places

ROLLUP_LINE = re.compile(r"^(\w+):\s+(\d+) kB$", re.M)
FLOATS = ("F64", "F32", "F16", "BF16")
DTYPE_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}


@dataclass(frozen=True)
class Footprint:
    """One process's memory. PSS shares a page evenly among those that map it, so that PSS can be summed.

    `anonymous`, `file` and `shared` are the parts of PSS: the heap with weights and caches that live in main memory,
    mapped files such as libraries, and shared memory. All but `rss` are None where the kernel does not let us look.
    """

    rss: int
    pss: int | None = None
    uss: int | None = None
    anonymous: int | None = None
    file: int | None = None
    shared: int | None = None


def footprint(pid: int, proc: Path = Path("/proc")) -> Footprint | None:
    """A process's memory now; None where it is gone."""
    try:
        pages = int((proc / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    try:
        return parse_rollup((proc / str(pid) / "smaps_rollup").read_text())
    except (OSError, KeyError):  # another user's, or a kernel that does not sum
        return Footprint(pages * os.sysconf("SC_PAGE_SIZE"))


def parse_rollup(text: str) -> Footprint:
    """The kernel's `smaps_rollup`, in which sizes are in kB."""
    row = {name: int(size) * 1024 for name, size in ROLLUP_LINE.findall(text)}
    uss = row["Private_Clean"] + row["Private_Dirty"] + row.get("Private_Hugetlb", 0)
    parts = (row.get("Pss_Anon"), row.get("Pss_File"), row.get("Pss_Shmem"))  # since Linux 5.5
    return Footprint(row["Rss"], row["Pss"], uss, *parts)


@dataclass(frozen=True)
class Weights:
    """A model's weights: on disk, and in memory where the engine was told a dtype; else as on disk."""

    disk: int
    parameters: int
    loaded: int


def model_folder(name: str) -> Path | None:
    """Where a model lies: a folder, or a hub's name in that hub's cache; None where neither is there."""
    places = [Path(name).expanduser(), *model_places(name, hub_settings(os.environ))]
    return next((place for place in places if place.is_dir()), None)


def weights(folder: Path, dtype: str | None = None) -> Weights | None:
    """The weights in a folder's safetensors files, by their headers alone; None where there are none to be read."""
    files = [folder / name for name in weight_names(folder) if name.endswith(".safetensors")]
    try:
        tensors = [tensor for file in files for tensor in _tensors(file)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not tensors:
        return None
    width = DTYPE_BYTES.get(dtype or "")
    loaded = sum(each.values * width if width and each.dtype in FLOATS else each.size_bytes for each in tensors)
    return Weights(sum(each.size_bytes for each in tensors), sum(each.values for each in tensors), loaded)


@dataclass(frozen=True)
class _Tensor:
    """A tensor as its file's header describes it: dtype, number of values, size on disk."""

    dtype: str
    values: int
    size_bytes: int


def _tensors(file: Path) -> list[_Tensor]:
    return [_tensor(tensor) for name, tensor in safetensors_header(file).items() if name != "__metadata__"]


def _tensor(values: ModelFile) -> _Tensor:
    begin, end = values["data_offsets"]
    return _Tensor(values["dtype"], prod(values["shape"]), int(end) - int(begin))


def summed(values: Sequence[int | None]) -> int | None:
    """Their sum; None where one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
