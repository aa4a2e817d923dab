"""Samples by stack: for the review's flame graph, as folded stacks, and as a speedscope file for other viewers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tracing.pyspy.events import Frame, Stack
from tracing.pyspy.samples import Samples
from tracing.pyspy.waitingframes import VLLM, WORKING

SPEEDSCOPE = "https://www.speedscope.app/file-format-schema.json"  # the format's name for itself


@dataclass(frozen=True)
class StackTime:
    """The time that threads of a role spent in a stage with one stack: its functions from vLLM's outermost on, each
    with its file, and whether they waited."""

    role: str
    stage: str
    functions: tuple[str, ...]
    is_waiting: bool
    ns: int


def stack_times(samples: Samples, frame: pd.DataFrame) -> tuple[StackTime, ...]:
    """The samples in a stage by role, stage, stack and whether they waited."""
    inside = frame[frame["stage"] != ""]
    keys = [inside["role"], inside["stage"], inside["stack"], inside["state"] != WORKING]
    times = inside.groupby(keys, sort=False)["weight_ns"].sum()
    known = {stack: _functions(samples.stacks[stack]) for stack in inside["stack"].unique()}
    return tuple(
        StackTime(role, stage, known[stack], bool(waiting), int(ns))
        for (role, stage, stack, waiting), ns in times.items()
        if ns > 0
    )


def _functions(stack: Stack) -> tuple[str, ...]:
    """The functions of a stack without what is around vLLM's outermost; all where none is of vLLM."""
    first = next((place for place, frame in enumerate(stack) if frame.file.startswith(VLLM)), 0)
    return tuple(f"{frame.name} ({frame.file})" for frame in stack[first:])


def folded(samples: Samples, frame: pd.DataFrame, path: Path) -> None:
    """A line a stack: role, thread, frames from the outermost, its time in µs; what flame graph tools read."""
    times = frame.groupby(["role", "thread_name", "state", "stack"], sort=True)["weight_ns"].sum() // 1000
    with path.open("w") as file:
        for (role, thread, state, stack), spent in times.items():
            words = [role, thread or "thread", *map(str, samples.stacks[stack]), f"[{state}]"]
            file.write(";".join(word.replace(";", ",").replace("\n", " ") for word in words) + f" {spent}\n")


def speedscope(samples: Samples, frame: pd.DataFrame, path: Path, name: str) -> None:
    """A profile a thread, its samples in order, each weighing the time until the thread's next one (seconds)."""
    numbers: dict[Frame, int] = {}
    profiles = []
    for (pid, thread), rows in frame.groupby(["pid", "thread"], sort=True):
        label = f"{rows['role'].iloc[0]}: {rows['thread_name'].iloc[0]} (process {pid}, thread {thread})"
        stacks = [[numbers.setdefault(each, len(numbers)) for each in samples.stacks[stack]] for stack in rows["stack"]]
        times = (rows["time_ns"].to_numpy() - frame["time_ns"].min()) / 1e9
        ends = [*times[1:], times[-1] + 1 / samples.recording.rate]
        profiles.append(
            {
                "type": "sampled",
                "name": label,
                "unit": "seconds",
                "startValue": float(times[0]),
                "endValue": float(ends[-1]),
                "samples": stacks,
                "weights": [float(end - start) for start, end in zip(times, ends, strict=True)],
            }
        )
    frames = [{"name": each.name, "file": each.file, "line": each.line} for each in numbers]
    document = {"$schema": SPEEDSCOPE, "name": name, "shared": {"frames": frames}, "profiles": profiles}
    path.write_text(json.dumps(document | {"exporter": "enginescope"}))
