"""What a sweep will do, before it does it: defaults that fit the machine, and the plan as text."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from offline.spec.estimate import KERNEL_S, estimate, kind_of, minutes
from offline.spec.grid import Arm, arms
from offline.spec.limits import model_positions
from offline.spec.memory import GIB, engines_alive
from offline.spec.model import label
from offline.spec.models import Models
from offline.spec.passes import Pass, passes
from offline.spec.settings import EngineSettings
from offline.spec.spec import Spec
from probes.console import counted
from probes.errors import usage_error
from probes.machine import Machine

DEFAULT_LIMIT_S = 540.0  # the default run stays under ten minutes with something to spare
BATCH_SIZES = (1, 4, 8, 16)
REPEATS = 3
MOST_REPEATS = 20  # where there is time: until so many are averaged, it is trials that scatter most
FEWEST_STARTS = 2  # of an arm, which is the replicate of its differences
DEGREES = 5  # of freedom that the variance between starts should have: with one it tells next to nothing
TAIL = 32  # tokens of a prompt that are its own
OUTPUT_LEN = 16
SAMPLED = "random numbers by the engine's seed (--engine seed=N, 0 where none is named)"
TRACED = "one of each cell in each start, untimed; the hooks are there from the start and call through until then"


def base_settings(spec: Spec, model: Path | str, machine: Machine) -> EngineSettings:
    """The engine arguments that all arms share where the spec does not say otherwise.

    On CPU the model runs eagerly, in float32 unless the CPU multiplies bfloat16 in hardware: where it does not, the
    default model's prefill was 6 times slower in bfloat16. The KV cache has the same bytes in every arm.
    """
    kind = kind_of(machine)
    longest = max(spec.input_len) + max(spec.output_len)
    positions = None if "hf_overrides" in spec.engine else model_positions(model)
    sizes = [gpu.memory_bytes or GIB for gpu in machine.engine_gpus]
    memory = int(0.5 * min(sizes, default=GIB)) if kind == "gpu" else GIB // 2
    settings = {
        "model": label(model),  # a name, so that ids hold no path; the runner puts the path in its place
        "load_format": spec.load_format,
        "dtype": {"gpu": "auto", "amx": "bfloat16", "avx2": "float32"}[kind],
        "enforce_eager": kind != "gpu",
        "max_model_len": min(-(-longest // 128) * 128, positions or sys.maxsize),
        "kv_cache_memory_bytes": memory,
    }
    return {key: value for key, value in settings.items() if key not in spec.engine}


def grid_of(spec: Spec, models: Models, machine: Machine) -> list[Arm]:
    """All arms of a complete spec."""
    bases = [base_settings(spec, place, machine) for place in models.places.values()]
    for base, cards in zip(bases, spec.cards, strict=False):
        base["tensor_parallel_size"] = cards
    return arms(spec, *bases)


def complete(spec: Spec, models: Models, machine: Machine, slowness: float = 1.0) -> tuple[Spec, str | None]:
    """Fill in what the spec leaves to the machine; the second value says what was given up to save time, if anything.

    The shared prefix spans two of the largest blocks, so that the block size can matter; the rest of a prompt is new.
    Where no batch size is asked for, the run takes ten minutes or less, and what was not asked for yields to that.
    Where one is, starts alone do. Time that is left goes into trials. `slowness` is what
    `offline.spec.estimate.slowness` makes of the reference kernel.
    """
    candidates = list(_shorter(spec, models, machine))
    full = candidates[0]
    if max(full.shared_prefix_len) >= min(full.input_len):
        raise usage_error(
            f"--shared-prefix-len {max(full.shared_prefix_len)} must be shorter than --input-len {min(full.input_len)}"
        )

    def seconds(each: Spec) -> float:
        return _seconds(each, models, machine, slowness)

    chosen = next((each for each in candidates if seconds(each) <= DEFAULT_LIMIT_S), candidates[-1])
    fixed = spec.repeats or spec.starts or len(grid_of(chosen, models, machine)) == 1
    longer = () if fixed else (replace(chosen, repeats=most) for most in range(MOST_REPEATS, chosen.repeats, -1))
    longest = next((each for each in longer if seconds(each) <= DEFAULT_LIMIT_S), chosen)
    return longest, _note(full, longest, seconds(full)) if chosen != full else None


def enough_starts(arms: int) -> int:
    """The fewest starts of each arm, two or more, that give the variance between starts its `DEGREES` of freedom.

    It has (arms - 1) · (starts - 1): two arms are started six times each, six arms twice.
    """
    return max(FEWEST_STARTS, 1 + math.ceil(DEGREES / (arms - 1))) if arms > 1 else FEWEST_STARTS


def _shorter(spec: Spec, models: Models, machine: Machine) -> Iterator[Spec]:
    """The complete spec, then ever shorter ones.

    Prompts and outputs yield first, then trials, outputs again, starts beyond the second, and block sizes. What was
    asked for stays, and so do all batch sizes and the second start of every arm.
    """
    blocks = spec.block_size or ((16, 32, 64) if kind_of(machine) == "gpu" else (32, 64, 128))
    repeats = spec.repeats or REPEATS
    full = _filled(spec, blocks, 2 * max(blocks), TAIL, OUTPUT_LEN, repeats)
    if spec.batch_size:
        yield from _fewer_starts(full, models, machine)
        return
    yield next(_fewer_starts(full, models, machine))
    few = min(2, repeats)
    for tail, output_len, trials in (
        (TAIL, OUTPUT_LEN, repeats),
        (1, OUTPUT_LEN // 2, repeats),
        (1, OUTPUT_LEN // 2, few),
    ):
        yield next(_fewer_starts(_filled(spec, blocks, max(blocks), tail, output_len, trials), models, machine))
    for count in range(len(blocks), 0, -1):
        fewer = _filled(spec, blocks[:count], max(blocks[:count]), 1, OUTPUT_LEN // 4, few)
        yield from _fewer_starts(fewer, models, machine)


def _fewer_starts(spec: Spec, models: Models, machine: Machine) -> Iterator[Spec]:
    """The spec with enough starts, then with ever fewer; with those that were asked for, if any were.

    One engine at a time, passes come in pairs, in an order and its reverse.
    """
    grid = grid_of(spec, models, machine)
    step = 2 if grid and engines_alive(grid, models, machine) == 1 else 1
    most = enough_starts(len(grid))
    counts = [spec.starts] if spec.starts else range(most + most % step, FEWEST_STARTS - 1, -step)
    return (replace(spec, starts=count) for count in counts)


def _filled(spec: Spec, blocks: tuple[int, ...], prefix: int, tail: int, output_len: int, repeats: int) -> Spec:
    """The spec with these values where it has none."""
    if spec.input_len and not spec.shared_prefix_len:
        prefix = min(prefix, min(spec.input_len) - 1)
    prefixes = spec.shared_prefix_len or (prefix,)
    return replace(
        spec,
        batch_size=spec.batch_size or BATCH_SIZES,
        block_size=spec.block_size or blocks,
        shared_prefix_len=prefixes,
        input_len=spec.input_len or (max(prefixes) + tail,),
        output_len=spec.output_len or (output_len,),
        repeats=spec.repeats or repeats,
    )


def _seconds(spec: Spec, models: Models, machine: Machine, slowness: float) -> float:
    grid = grid_of(spec, models, machine)
    alive = engines_alive(grid, models, machine) if grid else 0
    return estimate(spec, grid, models, machine, alive, slowness).seconds if grid else 0.0


def _note(full: Spec, chosen: Spec, full_s: float) -> str:
    """`shortened to save time: input_len 288 to 129 …`."""
    fewer = [name for name in ("repeats", "starts") if getattr(chosen, name) < getattr(full, name)]  # or even more
    names = ("input_len", "output_len", "shared_prefix_len", *fewer, "block_size")
    before = {name: getattr(full, name) for name in names if getattr(full, name) != getattr(chosen, name)}
    changes = ", ".join(f"{name} {listed(value)} to {listed(getattr(chosen, name))}" for name, value in before.items())
    flags = " ".join(f"--{name.replace('_', '-')} {listed(value)}" for name, value in before.items())
    return f"shortened to save time: {changes}; all of it would take some {full_s / 60:.0f} min here ({flags})"


def listed(value: float | Sequence[float]) -> str:
    """`32,64`."""
    return str(value) if isinstance(value, (int, float)) else ",".join(map(str, value))


@dataclass(frozen=True)
class Plan:
    """What will be run: a complete spec, its grid, and how many engines are alive at a time."""

    spec: Spec
    grid: list[Arm]
    alive: int
    seconds: float  # an estimate, as the next two; of a run that is continued, of what is left
    start_s: float = 0.0  # of one engine start
    slowness: float = 1.0  # of this machine, by the reference kernel

    def passes(self) -> list[Pass]:
        """All passes."""
        return passes(self.spec, self.grid, self.alive)

    @property
    def trials(self) -> int:
        """All timed trials."""
        return self.spec.repeats * sum(len(arm.cells) for each in self.passes() for arm in each.arms)

    @property
    def traced(self) -> int:
        """All recorded trials."""
        return sum(len(each.traced(self.spec)) for each in self.passes())

    def describe(self, model: str, platform: str, notes: Sequence[str]) -> str:
        """The plan as text: what will be run, in what order of magnitude of time."""
        spec = self.spec
        cells = sum(len(arm.cells) for arm in self.grid)
        lines = [
            f"model          {model}",
            f"platform       {platform}",
            f"lengths        {listed(spec.input_len)} prompt tokens ({listed(spec.shared_prefix_len)} shared), "
            f"{listed(spec.output_len)} generated",
            f"batch sizes    {', '.join(map(str, spec.batch_size))}",
            *([f"temperature    {listed(spec.temperature)} (0 is greedy), {SAMPLED}"] if any(spec.temperature) else []),
            f"arms           {counted(len(self.grid), 'engine configuration')}",
            *(f"  {arm.name:40} {counted(len(arm.cells), 'cell')}" for arm in self.grid),
            f"starts         {self._starts()}; {self._turns()}",
            f"cells          {cells}, warmed up at {'their own shapes' if cells > 1 else 'its own shape'}, "
            f"then {counted(spec.repeats, 'trial')} in each start",
            f"trials         {self.trials}",
            *([f"recorded       {self.traced} more, {TRACED}"] if spec.trace else []),
            f"estimate       {self._estimate()}",
        ]
        return "\n".join([*lines, *(f"note           {note}" for note in notes)])

    def _starts(self) -> str:
        engines = counted(sum(len(each.arms) for each in self.passes()), "engine")
        return f"{engines}, {self.spec.starts} or more an arm" if len(self.grid) > 1 else engines

    def _estimate(self) -> str:
        if not self.seconds:
            return "nothing is left to measure"
        kernel = f"{self.slowness * KERNEL_S * 1e3:.0f} ms"
        return f"{minutes(self.seconds)} (an estimate, for a machine whose reference kernel takes {kernel}, as here)"

    def _turns(self) -> str:
        if len(self.grid) == 1:
            return "one at a time"
        if self.alive == 1:
            return "one at a time, every second pass in reverse order"
        return f"{self.alive} alive at a time, all but one frozen, taking turns"


def plan(spec: Spec, models: Models, machine: Machine, slowness: float = 1.0) -> Plan:
    """The plan of a complete spec; bad usage where it has no cells."""
    grid = grid_of(spec, models, machine)
    if not grid:
        raise usage_error("no cells: --cache-state warm exists only with --prefix-caching on")
    alive = engines_alive(grid, models, machine)
    time = estimate(spec, grid, models, machine, alive, slowness)
    return Plan(spec, grid, alive, time.seconds, time.start_s, slowness)
