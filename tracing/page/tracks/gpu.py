"""What nsys saw of the GPU in the Perfetto file: a track a device and stream, a slice for every kernel and copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.errors import EnginescopeError
from tracing.nsys import gpu
from tracing.timeline.spans import Timeline

if TYPE_CHECKING:
    import pandas as pd

    from tracing.page.tracks.file import Writer

FIRST_TRACK = 1 << 53


def write(writer: Writer, timeline: Timeline) -> None:
    """Add the tracks where the trace folder has an nsys report with GPU activity on our clock."""
    try:
        beside = gpu.beside(timeline)
    except EnginescopeError:
        return  # the review says so
    if beside is None:
        return
    activity = gpu.attributed(beside.report, timeline, beside.offset_ns)
    streams = activity.groupby(["device", "stream"], sort=True)
    for track, ((device, stream), rows) in enumerate(streams, FIRST_TRACK):
        writer.track(track, f"nsys ±{beside.uncertainty_ns / 1e3:.1f} µs, GPU {device}, stream {stream}")
        _slices(writer, track, rows)


def _slices(writer: Writer, track: int, rows: pd.DataFrame) -> None:
    """A stream does one thing after the other; one that outlasts the next one's start is cut there."""
    rows = rows.sort_values("start_ns", kind="stable")
    starts = rows["start_ns"].to_numpy()
    ends = [min(end, after) for end, after in zip(rows["end_ns"], [*starts[1:], 1 << 62], strict=True)]
    columns = (starts, ends, rows["name"], rows["kind"], rows["stage"], rows["step"])
    for start, end, name, kind, stage, step in zip(*columns, strict=True):
        writer.begin(track, int(start), name or kind, kind, [], stage=stage, step=step)
        writer.end(track, int(end))
