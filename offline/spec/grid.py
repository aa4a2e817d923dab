"""The grid of a sweep: arms (one engine each), their cells, and the order in which trials are run."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import asdict, dataclass
from typing import Any

from offline.spec.spec import CACHING, Spec


@dataclass(frozen=True)
class Cell:
    """One row of the table: an arm, a batch size, a cache state and the lengths."""

    batch_size: int
    cache_state: str
    input_len: int
    output_len: int
    shared_prefix_len: int


@dataclass(frozen=True)
class Arm:
    """One engine configuration. `settings` are vLLM's engine arguments as asked; `axes` are those that vary."""

    settings: dict[str, Any]
    axes: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def id(self) -> str:
        return _digest(self.settings)

    @property
    def name(self) -> str:
        """What tells this arm from the others, for people: `block_size=32 prefix_caching=on`."""
        words = [f"{key}={self.settings[key]}" for key in self.axes]
        return (
            " ".join(words)
            .replace("enable_prefix_caching=True", "prefix_caching=on")
            .replace("enable_prefix_caching=False", "prefix_caching=off")
        )

    def cell_id(self, cell: Cell) -> str:
        """A stable id of the whole configuration: engine arguments, batch size, cache state and lengths."""
        return _digest({"engine": self.settings, "cell": asdict(cell)})


@dataclass(frozen=True)
class Trial:
    """One timed repeat of a cell; `index` counts through all passes, and the seed makes its prompts."""

    arm: Arm
    cell: Cell
    index: int
    seed: int


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def arms(spec: Spec, base: dict[str, Any]) -> list[Arm]:
    """All arms of a complete spec; `base` holds what every arm shares unless the spec varies it."""
    caching = [CACHING[word] for word in spec.prefix_caching]
    axes: dict[str, list[Any]] = {"block_size": list(spec.block_size), "enable_prefix_caching": caching}
    axes |= spec.engine
    always = ("block_size", "enable_prefix_caching")
    varied = tuple(key for key, values in axes.items() if len(values) > 1 or key in always)
    grid = []
    for values in itertools.product(*axes.values()):
        settings = {**base, **dict(zip(axes, values, strict=True))}
        cells = _cells(spec, settings["enable_prefix_caching"])
        if cells:
            grid.append(Arm(settings, varied, cells))
    return grid


def _cells(spec: Spec, caching: bool) -> tuple[Cell, ...]:
    # Warm means that the shared prefix is in the cache, so it exists only where there is a cache.
    states = [state for state in spec.cache_state if caching or state == "cold"]
    return tuple(
        Cell(batch, state, spec.input_len, spec.output_len, spec.shared_prefix_len)
        for batch in spec.batch_size
        for state in states
    )


def arm_order(spec: Spec, grid: list[Arm]) -> list[list[Arm]]:
    """The order of the arms in each pass: drawn from the seed, and every second pass is the first one reversed."""
    first = sorted(grid, key=lambda arm: arm.id)
    random.Random(f"{spec.seed}/arms").shuffle(first)
    return [first if number % 2 == 0 else first[::-1] for number in range(spec.passes)]


def trial_order(spec: Spec, arm: Arm, number: int) -> list[Trial]:
    """The trials of an arm in one pass: every round runs each cell once, in an order drawn anew from the seed."""
    order = []
    for repeat in range(spec.repeats):
        index = number * spec.repeats + repeat
        cells = list(arm.cells)
        random.Random(f"{spec.seed}/{arm.id}/{index}").shuffle(cells)
        order += [Trial(arm, cell, index, seed_of(spec, arm, cell, index)) for cell in cells]
    return order


def seed_of(spec: Spec, arm: Arm, cell: Cell, index: int) -> int:
    """A 63-bit seed for one trial's prompts (`index` -1: the warm-up), the same on any machine and in any resume."""
    text = f"{spec.seed}/{arm.cell_id(cell)}/{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
