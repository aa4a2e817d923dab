"""What has to hold of every shape's recording, counted from its trace: whole flows, columns that add up, roles."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tracing.breakdown.findings import Findings
from tracing.shapes.shape import Shape
from tracing.shapes.shown import unshown
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.phases import NAMES
from tracing.timeline.steps.workers import core_of


@dataclass(frozen=True)
class ShapeVerdict:
    """Shares are fractions of 1; steps that scheduled nothing count too."""

    requests: int
    whole: int
    unexplained_share: float | None  # of the median request's latency
    unexplained_ns_per_token: float | None  # of the median request; None where no request has tokens
    steps: int
    step_unexplained_share: float  # of the median step's length
    columns_off_ns: int  # the most by which a step's columns and its unexplained time miss its length
    negative_hops: int
    token_mismatches: int  # steps in which a worker ran another number of tokens than the core had scheduled
    processes: dict[str, int]  # how many are front ends, cores and workers
    expected_processes: dict[str, int]  # as the shape has them
    recorder_share: float | None  # of the busiest thread's time, an estimate
    unshown: tuple[str, ...]  # what the shape is there to show, and the recording does not
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether all is as it has to be, on a model whose requests are as short as the two-layer model's."""
        return (
            self.whole == self.requests > 0
            and self.is_explained
            and self.step_unexplained_share < 0.03
            and not (self.columns_off_ns or self.negative_hops or self.token_mismatches)
            and self.processes == self.expected_processes
            and not self.unshown
        )

    @property
    def is_explained(self) -> bool:
        """Whether little of the median request is unexplained: of each token, or of a request without tokens in all."""
        if self.unexplained_ns_per_token is not None:
            return self.unexplained_ns_per_token < 60_000
        return self.unexplained_share is not None and self.unexplained_share < 0.01


def verdict(recorded: Findings, shape: Shape) -> ShapeVerdict:
    """The verdict on a shape's recording."""
    review, steps = recorded.review, recorded.steps
    length = steps["end_ns"] - steps["start_ns"]
    columns = steps[[f"{name}_ns" for name in NAMES]].sum(axis=1) + steps["unexplained_ns"]
    return ShapeVerdict(
        requests=review.requests.total,
        whole=review.requests.whole,
        unexplained_share=review.unexplained_share_median,
        unexplained_ns_per_token=review.unexplained_ns_per_token_median,
        steps=len(steps),
        step_unexplained_share=float((steps["unexplained_ns"] / length).median()),
        columns_off_ns=int((columns - length).abs().max()),
        negative_hops=int((recorded.hops["latency_ns"] < 0).sum()),
        token_mismatches=token_mismatches(recorded.timeline),
        processes={role: len(review.roles.get(role, ())) for role in shape.processes},
        expected_processes=shape.processes,
        recorder_share=review.cost.share,
        unshown=unshown(recorded, shape),
        problems=review.problems,
    )


def token_mismatches(timeline: Timeline) -> int:
    """How many runs of a worker had another number of tokens than the core's batch of the same step."""
    batches = timeline.batches.groupby(["pid", "step"])["tokens"].sum()
    runs = timeline.spans[(timeline.spans["site"] == "worker.execute") & (timeline.spans["step"] >= 0)]
    core = runs["pid"].map(core_of(timeline)).fillna(-1).astype("int64")
    scheduled = batches.reindex(pd.MultiIndex.from_arrays([core, runs["step"]])).fillna(0).to_numpy()
    return int((scheduled != runs["value"].to_numpy()).sum())
