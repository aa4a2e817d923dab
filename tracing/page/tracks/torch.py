"""Torch traces in a Perfetto file: a track of operators beside each thread, and one a stream of a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from probes.errors import EnginescopeError
from tracing.page.tracks.file import Writer, uuid_of_process
from tracing.timeline.nesting import Nesting
from tracing.timeline.spans import Timeline
from tracing.torchsums import trace
from tracing.torchsums.trace import Event

FIRST_TRACK = 1 << 50
SORTED_EVENTS = 50_000  # so many are put in order at a time; torch writes nearly in order


def write(writer: Writer, timeline: Timeline) -> None:
    """All torch traces of a trace folder; a file that cannot be read to its end is written as far as it goes."""
    at = trace.clock(timeline)
    tracks: dict[tuple[str, int, int], int] = {}
    for path in trace.paths(timeline.folder) if at else ():
        _file(writer, tracks, _readable(trace.events(path, at.ahead_ns if at else 0)), path.name)


def _readable(events: Iterable[Event]) -> Iterator[Event]:
    try:
        yield from events
    except EnginescopeError:
        return  # the review says so


def _file(writer: Writer, tracks: dict[tuple[str, int, int], int], events: Iterator[Event], name: str) -> None:
    nestings: dict[int, Nesting[None]] = {}
    while chunk := sorted(islice(events, SORTED_EVENTS), key=lambda event: (event.start_ns, -event.end_ns)):
        for event in chunk:
            if event.kind != "launch":
                track = _track(writer, tracks, event, name)
                _slice(writer, track, event, nestings.setdefault(track, Nesting()))
    for track, nesting in nestings.items():
        for ended_ns, _ in nesting.close():
            writer.end(track, ended_ns)


def _track(writer: Writer, tracks: dict[tuple[str, int, int], int], event: Event, file: str) -> int:
    """The track of an event's thread or stream, made where it is new; devices of several files stay apart."""
    on_cpu = event.kind == "operator"
    key = ("" if on_cpu else file, event.pid, event.thread)
    if key not in tracks:
        tracks[key] = FIRST_TRACK + len(tracks)
        if on_cpu:
            writer.track(tracks[key], f"operators ({event.thread})", uuid_of_process(event.pid))
        else:
            writer.track(tracks[key], f"device {event.pid}, stream {event.thread}: {file}")
    return tracks[key]


def _slice(writer: Writer, track: int, event: Event, nesting: Nesting[None]) -> None:
    """Begin an event, after the ends of those that are over; one that outlasts the one around it is cut."""
    for ended_ns, _ in nesting.begin(event.start_ns, event.end_ns, None):
        writer.end(track, ended_ns)
    writer.begin(track, event.start_ns, event.name, event.kind, [])
