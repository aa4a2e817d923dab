"""Which CUDA graph each step ran, as its workers' model runner had it from vLLM's dispatcher."""

from __future__ import annotations

import pandas as pd

from tracing.timeline.spans import Timeline
from tracing.timeline.steps.workers import core_of

SITES = ("graph.dispatch", "runner.prepare")  # of Model Runner V1, and of V2
FULL, PIECEWISE, NO_GRAPH = MODES = ("FULL", "PIECEWISE", "NONE")


def graphs(timeline: Timeline) -> pd.DataFrame:
    """`pid` (the core), `step`, `mode` (one of `MODES`) and `padded_tokens`, a row a step.

    All ranks of a step run the same: the first one's is taken. Steps of which it was not told are not in it.
    """
    spans = timeline.spans
    rows = spans.loc[spans["site"].isin(SITES) & (spans["step"] >= 0) & (spans["extra"] > 0)]
    rows = rows[["pid", "step", "value", "extra"]]
    words = rows[["pid", "extra"]].drop_duplicates()
    modes = [timeline.texts.get((int(pid), int(text)), "") for pid, text in words.itertuples(index=False)]
    told = rows.merge(words.assign(mode=modes), on=["pid", "extra"])
    told = told.assign(pid=told["pid"].map(core_of(timeline)))
    told = told[told["mode"].isin(MODES) & told["pid"].notna()].astype({"pid": "int64"})
    told = told.rename(columns={"value": "padded_tokens"})[["pid", "step", "mode", "padded_tokens"]]
    return told.drop_duplicates(["pid", "step"], ignore_index=True)
