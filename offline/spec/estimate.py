"""How long a sweep takes, before it runs: a rough model, for the plan only and never for a result.

A start costs so many seconds, a token so many operations, on machines of a known kind; a reference kernel tells how
much slower this one is. Once engines have started and trials have run, they tell the time left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from offline.spec.grid import Arm, Cell
from offline.spec.model import text_config
from offline.spec.models import Models
from offline.spec.passes import CellIndex, Pass, passes
from offline.spec.spec import Spec
from probes.engineplatform import CPU
from probes.machine import Machine


@dataclass(frozen=True)
class Speed:
    """What this kind of machine does, roughly."""

    start_s: float  # one engine start and stop
    flops: float  # operations a second in a prefill
    bandwidth: float  # bytes of weights read a second in a decode step
    step_s: float  # engine overhead of a step
    trial_s: float = 0.4  # of a batch, beside its tokens: half of what stands between two turns

    def slower(self, factor: float, on_gpu: bool) -> Speed:
        """The speed of a machine whose CPU takes `factor` times as long; a GPU's own rates stay.

        A start is mostly imports, what stands between turns a garbage collection: quick products make them no quicker.
        """
        above = max(factor, 1.0)
        ours = replace(self, start_s=above * self.start_s, step_s=factor * self.step_s, trial_s=above * self.trial_s)
        return ours if on_gpu else replace(ours, flops=self.flops / factor, bandwidth=self.bandwidth / factor)


# Seen with the default model: 270 prompt tokens a second in float32 with AVX2 on one core, 40 in bfloat16.
SPEEDS = {
    "gpu": Speed(45.0, 2e14, 1e12, 0.003),
    "amx": Speed(32.0, 4e11, 8e9, 0.005),
    "avx2": Speed(32.0, 7e10, 9e9, 0.005),
}
SECOND_START = 0.4  # what an engine that starts beside another one adds to its time
KERNEL_S = 0.039  # what the reference kernel takes where these were seen
READ_S = 0.2  # to read what was recorded of a trial
READ_TOKEN_S = 0.002  # and each of its output tokens
TRACE_END_S = 2.0  # to complete the trace of an engine start


def kind_of(machine: Machine) -> str:
    """The row of `SPEEDS` for a machine."""
    if machine.platform not in (None, CPU):
        return "gpu"
    return "amx" if {"amx_bf16", "avx512_bf16"} & set(machine.cpu_flags) else "avx2"


@dataclass(frozen=True)
class SweepEstimate:
    """The time of a complete spec on a machine that keeps `alive` engines at a time, of which two start at once."""

    spec: Spec
    grid: Sequence[Arm]
    speed: Speed
    parameters: Mapping[str, float]  # by model
    alive: int

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.left_s()

    def left_s(self, measured: Collection[CellIndex] = (), traced: Collection[CellIndex] = ()) -> float:
        """What is left beside the trials that are measured and recorded: the starts that these need, and the others."""
        return sum(self._pass_s(each, measured, traced) for each in passes(self.spec, self.grid, self.alive))

    @property
    def start_s(self) -> float:
        """One engine start, on the mean."""
        every = passes(self.spec, self.grid, self.alive)
        starts_s = sum(self._starts_s(len(each.arms), each.interleaved) for each in every)
        return starts_s / sum(len(each.arms) for each in every)

    def _pass_s(self, each: Pass, measured: Collection[CellIndex], traced: Collection[CellIndex]) -> float:
        seconds, engines = 0.0, set()
        for arm, cell in each.cells():
            known = arm.cell_id(cell) if measured or traced else ""  # an id has its price, and a plan has many cells
            lack = each.lacks(self.spec, known, measured, traced)
            if any(lack):
                engines.add(arm.id)
                # Warm-up, then rounds; where engines take turns, each trial has an untimed one before it.
                batches = 1 + sum(lack) * (2 if each.interleaved else 1)
                reading_s = READ_S + READ_TOKEN_S * cell.batch_size * cell.output_len
                seconds += batches * self._cell_s(arm, cell) + lack.recorded * reading_s
        return seconds + self._starts_s(len(engines), each.interleaved)

    def _starts_s(self, engines: int, interleaved: bool) -> float:
        ends = TRACE_END_S * engines if self.spec.trace else 0.0
        if not interleaved:
            return engines * self.speed.start_s + ends
        pairs, single = divmod(engines, 2)
        return (pairs * (1 + SECOND_START) + single) * self.speed.start_s + ends

    def _cell_s(self, arm: Arm, cell: Cell) -> float:
        block = int(arm.settings["block_size"]) if arm.settings["enable_prefix_caching"] else 0
        shared = cell.shared_prefix_len // block * block if block else 0
        # Cold: the first request computes the shared prefix and the others find it. Warm: the primer computes it.
        prompts = cell.batch_size + (cell.cache_state == "warm")
        tokens = shared + prompts * (cell.input_len - shared)
        parameters = self.parameters[arm.settings["model"]] / int(arm.settings.get("tensor_parallel_size") or 1)
        operations = 2 * parameters / self.speed.flops  # seconds a token
        step = 2 * parameters / self.speed.bandwidth + self.speed.step_s + cell.batch_size * operations
        return tokens * operations + cell.output_len * step + self.speed.trial_s


def estimate(
    spec: Spec, grid: Sequence[Arm], models: Models, machine: Machine, alive: int, slowness: float = 1.0
) -> SweepEstimate:
    """The estimate for a complete spec and its grid, on a machine `slowness` times as slow as others of its kind."""
    kind = kind_of(machine)
    parameters = {name: parameter_count(place) for name, place in models.places.items()}
    return SweepEstimate(spec, grid, SPEEDS[kind].slower(slowness, kind == "gpu"), parameters, alive)


def slowness(kernel_ns: Sequence[int]) -> float:
    """How much slower a machine is than others of its kind, by some timings of the reference kernel: their median."""
    return median(kernel_ns) / 1e9 / KERNEL_S


def parameter_count(model: Path | str) -> float:
    """A model's parameters, from its configuration; a model that is not on this disk counts as one billion."""
    config = text_config(model)
    try:
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        heads = config["num_attention_heads"]
        attention = 2 * hidden * hidden * (1 + config.get("num_key_value_heads", heads) / heads)
        return float(layers * (attention + 3 * hidden * config["intermediate_size"]) + hidden * config["vocab_size"])
    except (KeyError, TypeError):
        return 1e9


def minutes(seconds: float) -> str:
    """`20 s`, `8 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
