"""Which CUDA graph each step ran, as its workers' model runner had it from vLLM's dispatcher."""

from __future__ import annotations

import pandas as pd

from tracing.timeline.spans import Timeline
from tracing.timeline.steps.workers import core_of

SITES = ("graph.dispatch", "runner.prepare")  # of Model Runner V1, and of V2
NO_GRAPH = "NONE"
MODES = ("FULL", "PIECEWISE", NO_GRAPH)


def graphs(timeline: Timeline) -> pd.DataFrame:
    """`pid` (the core), `step`, `mode` (one of `MODES`) and `padded_tokens`, a row a step.

    All ranks of a step run the same: the first one's is taken. Steps of which it was not told are not in it.
    """
    spans = timeline.spans
    rows = spans.loc[spans["site"].isin(SITES) & (spans["step"] >= 0) & (spans["extra"] > 0)]
    rows = rows[["pid", "step", "value", "extra"]]
    words = rows[["pid", "extra"]].drop_duplicates()
    modes = [timeline.texts.get((int(pid), int(text)), "") for pid, text in words.itertuples(index=False)]
    rows = rows.merge(words.assign(mode=modes), on=["pid", "extra"])
    rows = rows.assign(pid=rows["pid"].map(core_of(timeline)))
    rows = rows[rows["mode"].isin(MODES) & rows["pid"].notna()].astype({"pid": "int64"})
    rows = rows.rename(columns={"value": "padded_tokens"})[["pid", "step", "mode", "padded_tokens"]]
    return rows.drop_duplicates(["pid", "step"], ignore_index=True)
