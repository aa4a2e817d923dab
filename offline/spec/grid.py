"""The grid of a sweep: arms (engine settings), their cells, and what makes a trial."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from typing import Any

from offline.spec.settings import EngineAxes, EngineSettings
from offline.spec.spec import CACHING, Spec

VLLM = "vllm"  # among the settings of an arm, and no engine argument: the environment that its engine runs in
# Engine arguments that may change the model's arithmetic, beside those that name a number format or who computes.
ARITHMETIC = (
    *("quantization", "quantization_config", "kv_cache_dtype_skip_layers", "hf_overrides", "model_impl"),
    *("speculative_config", "spec_method", "spec_model", "spec_tokens"),
    *("attention_config", "disable_cascade_attn", "kernel_config", "ir_op_priority"),
    *("enforce_eager", "compilation_config", "optimization_level"),
    *("tensor_parallel_size", "decode_context_parallel_size", "enable_expert_parallel"),
)
ENDINGS = ("dtype", "_backend")  # of the names of those


@dataclass(frozen=True)
class Cell:
    """One row of the table: an arm, a batch size, a cache state, the lengths and the temperature of sampling."""

    batch_size: int
    cache_state: str
    input_len: int
    output_len: int
    shared_prefix_len: int
    temperature: float = 0.0


@dataclass(frozen=True)
class Arm:
    """One engine configuration. `settings` are vLLM's engine arguments as asked; `axes` are those that vary.

    Where environments are named, the label of the arm's own is among the settings.
    """

    settings: EngineSettings
    axes: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def arguments(self) -> EngineSettings:
        """What vLLM is given."""
        return {name: value for name, value in self.settings.items() if name != VLLM}

    @property
    def environment(self) -> str:
        """The label of the environment that it runs in; empty for this one."""
        return str(self.settings.get(VLLM, ""))

    @property
    def id(self) -> str:
        return _digest(self.settings)

    @property
    def name(self) -> str:
        """What tells this arm from the others, for people: `block_size=32 prefix_caching=on`."""
        return " ".join(f"{column}={level}" for column, level in self.levels.items())

    @property
    def levels(self) -> dict[str, Any]:  # of the engine argument's type
        """The same as a row of the table has it: `{"block_size": 32, "prefix_caching": "on"}`, JSON for a mapping."""
        return {column_of(axis): _level(axis, self.settings[axis]) for axis in self.axes}

    @property
    def may_answer_otherwise(self) -> bool:
        """Whether an axis of the grid may change the model's arithmetic."""
        return any(axis in (*ARITHMETIC, VLLM) or axis.endswith(ENDINGS) for axis in self.axes)

    def cell_id(self, cell: Cell) -> str:
        """A stable id of the whole configuration: engine arguments, batch size, cache state, lengths, temperature."""
        values = asdict(cell)
        if not cell.temperature:  # ids, and so the prompts, of greedy cells are older than temperatures
            del values["temperature"]
        return _digest({"engine": self.settings, "cell": values})


@dataclass(frozen=True)
class Trial:
    """One timed repeat of a cell; `index` counts the rounds of all passes, and the seed makes its prompts."""

    arm: Arm
    cell: Cell
    index: int
    seed: int


def column_of(axis: str) -> str:
    """The column of a table that has an engine argument which varies."""
    return "prefix_caching" if axis == "enable_prefix_caching" else axis


def _level(axis: str, value: object) -> object:
    if axis == "enable_prefix_caching":
        return "on" if value else "off"
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def arms(spec: Spec, *bases: EngineSettings) -> list[Arm]:
    """All arms of a complete spec; `bases`, one a model, hold what its arms share unless the spec varies it.

    Of several models each is a level of the axis `model`, with whatever else is in its base.
    """
    caching = [CACHING[word] for word in spec.prefix_caching]
    axes: EngineAxes = {"block_size": list(spec.block_size), "enable_prefix_caching": caching}
    axes |= ({VLLM: list(spec.vllm)} if spec.vllm else {}) | spec.engine
    always = ("block_size", "enable_prefix_caching")
    varied = tuple(key for key, values in axes.items() if len(values) > 1 or key in always)
    varied = ("model", *varied) if len(bases) > 1 else varied
    grid = []
    for base, *values in itertools.product(bases, *axes.values()):
        settings = {**base, **dict(zip(axes, values, strict=True))}
        cells = _cells(spec, settings["enable_prefix_caching"])
        if cells:
            grid.append(Arm(settings, varied, cells))
    return grid


def _cells(spec: Spec, caching: bool) -> tuple[Cell, ...]:
    # Warm means that the shared prefix is in the cache, so it exists only where there is a cache.
    states = [state for state in spec.cache_state if caching or state == "cold"]
    asked = itertools.product(spec.input_len, spec.output_len, spec.shared_prefix_len, spec.temperature)
    return tuple(Cell(batch, state, *values) for values in asked for batch in spec.batch_size for state in states)


def seed_of(spec: Spec, arm: Arm, cell: Cell, index: int | str) -> int:
    """A 63-bit seed for one trial's prompts, the same on any machine and in any resume.

    An index that no trial has, below zero or with words, makes prompts that are never measured.
    """
    text = f"{spec.seed}/{arm.cell_id(cell)}/{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
