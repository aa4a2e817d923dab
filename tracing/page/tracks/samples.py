"""py-spy's samples in the Perfetto file: a track a thread, a slice for every stretch of one innermost function."""

from __future__ import annotations

import pandas as pd

from tracing.page.tracks.file import Writer, uuid_of_process
from tracing.pyspy import attribution, recording, samples
from tracing.timeline.spans import Timeline

FIRST_TRACK = 1 << 52
GAP_PERIODS = 50  # a thread not seen for so many periods ended, or its process was frozen
CALLERS = 12  # of a slice's stack the innermost frames are noted


def write(writer: Writer, timeline: Timeline) -> None:
    """Add the tracks where the trace folder has samples that a beacon has placed."""
    if not recording.exists(timeline.folder):
        return
    read = samples.read(timeline.folder)
    if read.uncertainty_ns < 0:
        return
    frame = attribution.attributed(read, timeline)
    recorded_pids = {process.pid for process in timeline.processes}
    for track, ((pid, thread), rows) in enumerate(frame.groupby(["pid", "thread"], sort=True), FIRST_TRACK):
        name = f"py-spy ±{read.uncertainty_ns / 1e6:.1f} ms, {rows['role'].iloc[0]}: {rows['thread_name'].iloc[0]}"
        writer.track(track, f"{name} ({thread})", uuid_of_process(pid) if pid in recorded_pids else 0)
        _slices(writer, track, rows, read)


def _slices(writer: Writer, track: int, rows: pd.DataFrame, read: samples.Samples) -> None:
    """A slice lasts from its first sample to the next slice's; the last one for one sampling period."""
    period_ns = 1_000_000_000 // read.recording.rate
    functions = rows["stack"].map(lambda stack: str(read.stacks[stack][-1]))
    starts = rows[(functions != functions.shift()) | (rows["time_ns"].diff() > GAP_PERIODS * period_ns)]
    ends = [*starts["time_ns"].iloc[1:], rows["time_ns"].iloc[-1] + period_ns]
    columns = (starts["time_ns"], ends, functions.loc[starts.index], starts["state"], starts["stage"], starts["stack"])
    for begin, end, name, state, stage, stack in zip(*columns, strict=True):
        callers = " < ".join(str(frame) for frame in reversed(read.stacks[stack][-CALLERS:]))
        writer.begin(track, int(begin), name, f"py-spy {state}", [], state=state, stage=stage, stack=callers)
        writer.end(track, int(end))
