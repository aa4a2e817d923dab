"""What the recorder knows of the workers' devices in the Perfetto file: a track a device, a slice for every piece of
work. A slice is how long the device was busy at most; its `surely_busy_ns` is how long at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracing.page.tracks.file import uuid_of_process
from tracing.timeline.spans import Timeline

if TYPE_CHECKING:
    import pandas as pd

    from tracing.page.tracks.file import Writer

FIRST_TRACK = 1 << 54


def write(writer: Writer, timeline: Timeline) -> None:
    """Add the tracks of the devices that were timed by events."""
    for track, (pid, rows) in enumerate(timeline.device.groupby("pid", sort=True), FIRST_TRACK):
        off_by_us = rows["uncertainty_ns"].median() / 1e3
        writer.track(track, f"device ±{off_by_us:.1f} µs", uuid_of_process(int(pid)))
        _slices(writer, track, rows.sort_values("begin_ns", kind="stable"))


def _slices(writer: Writer, track: int, rows: pd.DataFrame) -> None:
    """A device does one thing after the other; within the clock's uncertainty a piece may seem to begin too early."""
    free = 0
    for step, begin, end, given in rows[["step", "begin_ns", "end_ns", "given_ns"]].itertuples(index=False):
        start, end = max(int(begin), free), max(int(end), free)
        name = f"step {step}" if step >= 0 else "dummy batch"
        writer.begin(track, start, name, "device", [], surely_busy_ns=max(end - max(start, int(given)), 0))
        writer.end(track, end)
        free = end
