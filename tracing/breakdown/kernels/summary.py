"""The kernels of a trace as records: by kind of step and family, what was exposed, and what set the pace."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from probes.columns import column
from tracing.breakdown.kernels.families import CODES, FAMILIES, GRAPH
from tracing.breakdown.kernels.overlap import exposed
from tracing.breakdown.kernels.pace import KERNEL, LAUNCH, PACES, UNKNOWN, bound, paces
from tracing.breakdown.kernels.work import NO_STEP, OF_WORK


@dataclass(frozen=True)
class FamilyTime:
    """A row of `kernels.families`: means over the steps of a kind on each device; sums of what is of no step."""

    kind: str = field(metadata=column("the kind of step, or no step"))
    family: str = field(metadata=column("attention, GEMM, MoE, communication, sampling, copy or other"))
    kernels: float = field(metadata=column("how many ran", "kernels"))
    ns: float = field(metadata=column("their time, summed over streams", "ns"))
    share: float = field(metadata=column("of the time of all families", "1"))


@dataclass(frozen=True)
class KindOfWork:
    """A row of `kernels.kinds`: the device's work in the steps of a kind, or in none."""

    kind: str = field(metadata=column("the kind of step, or no step"))
    steps: int = field(metadata=column("steps with work, each counted once a device; 0: the row holds sums", "steps"))
    communication_ns: float | None = field(metadata=column("in which a device communicated; null: not known", "ns"))
    exposed_ns: float | None = field(metadata=column("of it, with no kernel of another family beside it", "ns"))
    launch_bound: int = field(metadata=column("steps whose pace their launches set", "steps"))
    kernel_bound: int = field(metadata=column("steps whose pace their kernels set", "steps"))
    launch_share: float | None = field(
        metadata=column("of the time from a step's first kernel to its last, what launches set; null: none known", "1")
    )

    @property
    def hidden_ns(self) -> float | None:
        """Communication beside other kernels."""
        known = self.communication_ns is not None and self.exposed_ns is not None
        return self.communication_ns - self.exposed_ns if known else None  # type: ignore[operator]


@dataclass(frozen=True)
class KernelSummary:
    """`kernels`: what a trace says of its devices' kernels."""

    families: tuple[FamilyTime, ...] = field(metadata=column("kernels by family"))
    kinds: tuple[KindOfWork, ...] = field(metadata=column("communication, and what set the pace"))


def summary(work: pd.DataFrame) -> KernelSummary:
    """The records of a frame of `tracing.breakdown.kernels.work.with_kinds`."""
    counts = steps_of(work)
    return KernelSummary(tuple(_families(work, counts)), tuple(_kinds(work, counts)))


def steps_of(work: pd.DataFrame) -> dict[int, int]:
    """By kind the number of its steps, each counted on every device that worked for it; none for work of no step."""
    counted = work[work["kind"] != OF_WORK.index(NO_STEP)][["kind", "core", "step", "device"]].drop_duplicates()
    return {int(kind): int(count) for kind, count in counted["kind"].value_counts().items()}


def _families(work: pd.DataFrame, counts: dict[int, int]) -> list[FamilyTime]:
    lengths = work["end_ns"] - work["start_ns"]
    took = lengths.groupby([work["kind"], work["family"]]).agg(["size", "sum"])
    whole = took["sum"].groupby("kind").sum()
    rows = [
        FamilyTime(
            kind=OF_WORK[kind],
            family=FAMILIES[family],
            kernels=int(size) / counts.get(kind, 1),
            ns=int(total) / counts.get(kind, 1),
            share=int(total) / max(int(whole[kind]), 1),
        )
        for (kind, family), size, total in took.itertuples(name=None)
    ]
    return sorted(rows, key=lambda row: (OF_WORK.index(row.kind), -row.ns))


def _kinds(work: pd.DataFrame, counts: dict[int, int]) -> list[KindOfWork]:
    communicated = exposed(work)
    whole = set(work["kind"][work["family"] == CODES[GRAPH]])  # the kernels in them are not known
    of_steps = paces(work[work["kind"] != OF_WORK.index(NO_STEP)])
    of_steps["bound"] = bound(of_steps)
    rows = []
    for kind in sorted(set(work["kind"])):
        mine, steps = of_steps[of_steps["kind"] == kind], counts.get(kind, 0)
        all_ns, alone_ns = communicated.get(kind, (0, 0))
        rows.append(
            KindOfWork(
                kind=OF_WORK[kind],
                steps=steps,
                communication_ns=None if kind in whole else all_ns / max(steps, 1),
                exposed_ns=None if kind in whole else alone_ns / max(steps, 1),
                launch_bound=int((mine["bound"] == LAUNCH).sum()),
                kernel_bound=int((mine["bound"] == KERNEL).sum()),
                launch_share=_launch_share(mine),
            )
        )
    return rows


def _launch_share(steps: pd.DataFrame) -> float | None:
    spent = steps[list(PACES)].sum()
    whole = int(spent.sum())
    return int(spent[LAUNCH]) / whole if whole and int(spent[UNKNOWN]) * 2 < whole else None
