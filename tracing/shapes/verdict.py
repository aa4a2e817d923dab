"""What has to hold of every shape's recording, counted from its trace: whole flows, columns that add up, roles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tracing.breakdown.findings import Findings
from tracing.shapes.shape import Shape
from tracing.shapes.shown import unshown
from tracing.timeline.spans import Timeline
from tracing.timeline.steps.phases import NAMES
from tracing.timeline.steps.workers import core_of

DEMONSTRATION_TOKENS = 32  # of its requests; the share of what is unexplained has a bound from this length on
MOST_SHARE, MOST_NS_PER_TOKEN = 0.01, 60_000  # of a request, which what is unexplained stays below
PARTS = [*(f"{name}_ns" for name in NAMES), "unexplained_ns"]  # of a step


@dataclass(frozen=True)
class ShapeVerdict:
    """Shares are fractions of 1; steps that scheduled nothing count too."""

    requests: int
    whole: int
    unexplained_share: float | None  # of the median request's latency
    unexplained_ns_per_token: float | None  # of the median request; None where no request has tokens
    tokens: float  # of the median request
    steps: int
    step_unexplained_share: float | None  # of the median step's length; None without a step
    columns_off_ns: int  # the most by which a step's parts miss its length, as they do where time counts twice
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
            and self.step_unexplained_share is not None
            and self.step_unexplained_share < 0.03
            and not (self.columns_off_ns or self.negative_hops or self.token_mismatches)
            and self.processes == self.expected_processes
            and not self.unshown
        )

    @property
    def is_explained(self) -> bool:
        """Whether little of the median request is unexplained: of each token, and as a share of its time.

        The share is judged where requests are as long as the demonstration's or have no tokens: a beam's request of one
        token is so short that a few microseconds are a large share, and its token alone is judged.
        """
        per_token, share = self.unexplained_ns_per_token, self.unexplained_share
        if per_token is not None and per_token >= MOST_NS_PER_TOKEN:
            return False
        if per_token is not None and self.tokens < DEMONSTRATION_TOKENS:
            return True
        return share is not None and share < MOST_SHARE


def verdict(recorded: Findings, shape: Shape) -> ShapeVerdict:
    """The verdict on a shape's recording."""
    review, steps = recorded.review, recorded.steps
    length = steps["end_ns"] - steps["start_ns"]
    return ShapeVerdict(
        requests=review.requests.total,
        whole=review.requests.whole,
        unexplained_share=review.unexplained_share_median,
        unexplained_ns_per_token=review.unexplained_ns_per_token_median,
        tokens=float(np.median([flow.output_tokens for flow in recorded.flows if flow.is_whole] or [0])),
        steps=len(steps),
        step_unexplained_share=float((steps["unexplained_ns"] / length).median()) if len(steps) else None,
        columns_off_ns=columns_off(steps),
        negative_hops=int((recorded.hops["latency_ns"] < 0).sum()),
        token_mismatches=token_mismatches(recorded.timeline),
        processes={role: len(review.roles.get(role, ())) for role in shape.processes},
        expected_processes=shape.processes,
        recorder_share=review.cost.share,
        unshown=unshown(recorded, shape),
        problems=review.problems,
    )


def columns_off(steps: pd.DataFrame) -> int:
    """The most nanoseconds by which the parts of a step miss its length.

    What is unexplained is what the columns leave of the length, so that all always add up to it: where more time counts
    in two columns than in none it is below 0. So only what is above counts here.
    """
    if not len(steps):
        return 0
    length = steps["end_ns"] - steps["start_ns"]
    return int((steps[PARTS].clip(lower=0).sum(axis=1) - length).abs().max())


def token_mismatches(timeline: Timeline) -> int:
    """How many runs of a worker had another number of tokens than the core's batch of the same step."""
    batches = timeline.batches.groupby(["pid", "step"])["tokens"].sum()
    runs = timeline.spans[(timeline.spans["site"] == "worker.execute") & (timeline.spans["step"] >= 0)]
    core = runs["pid"].map(core_of(timeline)).fillna(-1).astype("int64")
    scheduled = batches.reindex(pd.MultiIndex.from_arrays([core, runs["step"]])).fillna(0).to_numpy()
    return int((scheduled != runs["value"].to_numpy()).sum())
