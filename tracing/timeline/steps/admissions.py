"""When requests were admitted to the batch, and what each found in the prefix cache then."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracing.timeline.spans import Timeline

KEYS = ["pid", "request"]


def admissions(timeline: Timeline) -> pd.DataFrame:
    """A row an admission, by core and step: `pid`, `request`, `step`, `found` and `evicted` (tokens), and `place`.

    A request is looked up until it is scheduled, so that the last look before it ran counts; one that was preempted is
    looked up again. `place` counts a request's admissions from 0. Those without a look, as of an engine whose recording
    began later, are not in it.
    """
    spans = timeline.spans
    looks = spans.loc[(spans["site"] == "kv.lookup") & (spans["step"] >= 0), [*KEYS, "step", "value", "extra"]]
    looks = looks.rename(columns={"value": "found", "extra": "evicted"}).astype({"request": object, "step": np.int64})
    ran = timeline.batches[[*KEYS, "step"]].astype({"request": object, "step": np.int64}).assign(ran=1)
    if not len(looks) or not len(ran):
        return looks.assign(place=0).iloc[:0]
    looks = looks.drop_duplicates([*KEYS, "step"], keep="last").sort_values("step", kind="stable")
    ran = ran.sort_values("step", kind="stable")
    next_run = pd.merge_asof(looks, ran.assign(at=ran["step"]), on="step", by=KEYS, direction="forward")
    taken = next_run[next_run["at"].notna()].assign(step=lambda rows: rows["at"].astype(np.int64))
    taken = taken.drop_duplicates([*KEYS, "step"], keep="last").drop(columns=["ran", "at"])
    return taken.assign(place=taken.groupby(KEYS).cumcount()).reset_index(drop=True)
