"""The frames of a trace folder for notebooks: its spans and steps as read, and its requests worked out of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd

from tracing.timeline import spans
from tracing.timeline.index import Index
from tracing.timeline.requests import flows, frame
from tracing.timeline.spans import Timeline


class TraceFrames(Timeline):
    """A timeline with `requests` beside its `spans` and `steps`; `columns` has what their columns mean."""

    @cached_property
    def requests(self) -> pd.DataFrame:
        """A row a request, by start, with the columns of `columns.RequestRow`."""
        return frame(flows(Index(self)))


def read(folder: Path | str) -> TraceFrames:
    """Read a trace folder; raises `EnginescopeError` where it is none or of another schema."""
    return TraceFrames(**vars(spans.read(folder)))
