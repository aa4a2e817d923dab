"""Writes a Perfetto file packet by packet: tracks, slices on them, and counts."""

from __future__ import annotations

from typing import Any, BinaryIO

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackEvent
from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

SEQUENCE = 1


class Writer:
    """Packets into a file, each with its track and time."""

    def __init__(self, file: BinaryIO) -> None:
        self.builder = StreamingTraceProtoBuilder(file)
        first = self.packet()
        first.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        self.write(first)

    def packet(self) -> Any:  # protobuf makes its classes while it runs
        packet = self.builder.create_packet()
        packet.trusted_packet_sequence_id = SEQUENCE
        return packet

    def write(self, packet: Any) -> None:  # as above
        self.builder.write_packet(packet)

    def track(self, uuid: int, name: str, parent: int = 0, counter: bool = False) -> None:
        packet = self.packet()
        descriptor = packet.track_descriptor
        descriptor.uuid, descriptor.name = uuid, name
        if parent:
            descriptor.parent_uuid = parent
        if counter:
            descriptor.counter.SetInParent()
        self.write(packet)

    def begin(self, track: int, time_ns: int, name: str, category: str, flows: list[int], **notes: str | int) -> None:
        packet = self.packet()
        packet.timestamp = time_ns
        event = packet.track_event
        event.type, event.track_uuid, event.name = TrackEvent.TYPE_SLICE_BEGIN, track, name
        event.categories.append(category)
        event.flow_ids.extend(flows)
        for key, value in notes.items():
            note = event.debug_annotations.add()
            note.name = key
            if isinstance(value, str):
                note.string_value = value
            else:
                note.int_value = int(value)
        self.write(packet)

    def end(self, track: int, time_ns: int) -> None:
        packet = self.packet()
        packet.timestamp = time_ns
        packet.track_event.type, packet.track_event.track_uuid = TrackEvent.TYPE_SLICE_END, track
        self.write(packet)

    def count(self, track: int, time_ns: int, value: int) -> None:
        packet = self.packet()
        packet.timestamp = time_ns
        event = packet.track_event
        event.type, event.track_uuid, event.counter_value = TrackEvent.TYPE_COUNTER, track, value
        self.write(packet)


def uuid_of_process(pid: int) -> int:
    return (1 << 32) + int(pid)
