"""What a sweep will do, before it does it: defaults that fit the machine, and an estimate of its time.

The estimate is a rough model: a start costs so many seconds, a token so many operations. Once trials have run, they
tell the time left.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from offline.spec.grid import Arm, Cell, arms
from offline.spec.limits import model_positions
from offline.spec.model import label
from offline.spec.spec import Spec
from probes.engineplatform import CPU
from probes.errors import usage_error
from probes.machine import Machine

GIB = 1 << 30
DEFAULT_LIMIT_S = 540.0  # the default run stays under ten minutes with something to spare
BATCH_SIZES = (1, 4, 8, 16)


@dataclass(frozen=True)
class Speed:
    """What this kind of machine does, roughly: for the estimate only, never for a result."""

    start_s: float  # one engine start and stop
    flops: float  # operations a second in a prefill
    bandwidth: float  # bytes of weights read a second in a decode step
    step_s: float  # engine overhead of a step


# Seen with the default model: 270 prompt tokens a second in float32 with AVX2 on one core, 40 in bfloat16.
SPEEDS = {
    "gpu": Speed(45.0, 2e14, 1e12, 0.003),
    "amx": Speed(30.0, 4e11, 8e9, 0.005),
    "avx2": Speed(30.0, 7e10, 9e9, 0.005),
}


def kind_of(machine: Machine) -> str:
    """The row of `SPEEDS` for a machine."""
    if machine.platform not in (None, CPU):
        return "gpu"
    return "amx" if {"amx_bf16", "avx512_bf16"} & set(machine.cpu_flags) else "avx2"


def base_settings(spec: Spec, model: Path | str, machine: Machine) -> dict[str, Any]:
    """The engine arguments that all arms share where the spec does not say otherwise.

    On CPU the model runs eagerly, in float32 unless the CPU multiplies bfloat16 in hardware: where it does not, the
    default model's prefill was 6 times slower in bfloat16. The KV cache has the same bytes in every arm.
    """
    kind = kind_of(machine)
    longest = spec.input_len + spec.output_len
    positions = None if "hf_overrides" in spec.engine else model_positions(model)
    visible = [gpu.memory_bytes or GIB for gpu in machine.gpus if gpu.visible]
    memory = int(0.5 * min(visible, default=GIB)) if kind == "gpu" else GIB // 2
    settings = {
        "model": label(model),  # a name, so that ids hold no path; the runner puts the path in its place
        "load_format": spec.load_format,
        "dtype": {"gpu": "auto", "amx": "bfloat16", "avx2": "float32"}[kind],
        "enforce_eager": kind != "gpu",
        "max_model_len": min(-(-longest // 128) * 128, positions or sys.maxsize),
        "kv_cache_memory_bytes": memory,
    }
    return {key: value for key, value in settings.items() if key not in spec.engine}


def complete(spec: Spec, model: Path | str, machine: Machine) -> tuple[Spec, str | None]:
    """Fill in what the spec leaves to the machine; the second value says what was left out to save time, if anything.

    The shared prefix spans two of the largest blocks, so that the block size can matter; the rest of a prompt is new.
    """
    blocks = spec.block_size or ((16, 32, 64) if kind_of(machine) == "gpu" else (32, 64, 128))
    prefix = spec.shared_prefix_len if spec.shared_prefix_len >= 0 else 2 * max(blocks)
    if spec.input_len and spec.shared_prefix_len < 0:
        prefix = min(prefix, spec.input_len - 1)
    filled = replace(
        spec,
        block_size=blocks,
        shared_prefix_len=prefix,
        input_len=spec.input_len or prefix + 32,
        output_len=spec.output_len or 16,
        batch_size=spec.batch_size or BATCH_SIZES,
    )
    if filled.input_len <= filled.shared_prefix_len:
        raise usage_error(
            f"--shared-prefix-len {filled.shared_prefix_len} must be shorter than --input-len {filled.input_len}"
        )
    if spec.batch_size:
        return filled, None
    return _trimmed(filled, model, machine)


def _trimmed(spec: Spec, model: Path | str, machine: Machine) -> tuple[Spec, str | None]:
    full, left_out = estimate_s(spec, model, machine), []
    sizes = list(spec.batch_size)
    while len(sizes) > 2 and estimate_s(replace(spec, batch_size=tuple(sizes)), model, machine) > DEFAULT_LIMIT_S:
        left_out.append(sizes.pop())
    if not left_out:
        return spec, None
    left, all_sizes = ", ".join(map(str, sorted(left_out))), ",".join(map(str, spec.batch_size))
    note = f"batch size {left} left out: with it the run would take some {full / 60:.0f} min here"
    return replace(spec, batch_size=tuple(sizes)), f"{note}; --batch-size {all_sizes} asks for it"


def estimate_s(spec: Spec, model: Path | str, machine: Machine) -> float:
    """Seconds that a complete spec should take here: an estimate, by the model at the top of this file."""
    speed, parameters = SPEEDS[kind_of(machine)], parameter_count(model)
    grid = arms(spec, base_settings(spec, model, machine))
    return spec.passes * sum(_arm_s(spec, arm, speed, parameters) for arm in grid)


def _arm_s(spec: Spec, arm: Arm, speed: Speed, parameters: float) -> float:
    caching = bool(arm.settings["enable_prefix_caching"])
    block = int(arm.settings["block_size"])
    cells = sum(_cell_s(cell, caching, block, speed, parameters) for cell in arm.cells)
    return speed.start_s + (spec.repeats + 1) * cells


def _cell_s(cell: Cell, caching: bool, block: int, speed: Speed, parameters: float) -> float:
    shared = cell.shared_prefix_len // block * block if caching else 0
    # Cold: the first request computes the shared prefix and the others find it. Warm: the primer computes it.
    prompts = cell.batch_size + (cell.cache_state == "warm")
    tokens = shared + prompts * (cell.input_len - shared)
    step = parameters * 2 / speed.bandwidth + speed.step_s + cell.batch_size * 2 * parameters / speed.flops
    return tokens * 2 * parameters / speed.flops + cell.output_len * step + 0.15


def parameter_count(model: Path | str) -> float:
    """A model's parameters, from its configuration; a model that is not on this disk counts as one billion."""
    try:
        config = json.loads((Path(model) / "config.json").read_text())
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        heads, kv_heads = (
            config["num_attention_heads"],
            config.get("num_key_value_heads", config["num_attention_heads"]),
        )
        attention = 2 * hidden * hidden * (1 + kv_heads / heads)
        return float(layers * (attention + 3 * hidden * config["intermediate_size"]) + hidden * config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1e9


def engines_at_once(grid: list[Arm], model: Path | str) -> int:
    """How many engines may be started together: two where each has a core and memory of its own, else one.

    Only on CPU: on a GPU the second engine would find the memory taken.
    """
    first = grid[0].settings
    need = 3 * GIB + int(first.get("kv_cache_memory_bytes") or GIB) + _folder_bytes(model) * 2
    roomy = psutil.virtual_memory().available > 2 * need
    return 2 if first["enforce_eager"] and roomy and len(os.sched_getaffinity(0)) >= 2 else 1


def _folder_bytes(model: Path | str) -> int:
    return sum(path.stat().st_size for path in Path(model).glob("*") if path.is_file())


def describe(spec: Spec, grid: list[Arm], model: str, seconds: float, notes: list[str]) -> str:
    """The plan as text: what will be run, in what order of magnitude of time."""
    cells = sum(len(arm.cells) for arm in grid)
    trials = cells * spec.repeats * spec.passes
    lines = [
        f"model          {model}",
        f"lengths        {spec.input_len} prompt tokens ({spec.shared_prefix_len} shared), {spec.output_len} generated",
        f"batch sizes    {', '.join(map(str, spec.batch_size))}",
        f"arms           {len(grid)} engine configurations, one fresh process group each",
        *(f"  {arm.name:40} {len(arm.cells)} cells" for arm in grid),
        f"cells          {cells}, warmed up at their own shapes, then {spec.repeats} trials"
        + (f" in each of {spec.passes} passes" if spec.passes > 1 else ""),
        f"trials         {trials}",
        f"estimate       {minutes(seconds)} (an estimate)",
    ]
    return "\n".join([*lines, *(f"note           {note}" for note in notes)])


def minutes(seconds: float) -> str:
    """`20 s`, `8 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
