"""A trace folder is read back as it was written, however it was cut."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.errors import EnginescopeError
from tests.tracing import traces
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.events import layout
from tracing.events.file import SHARED_SITES
from tracing.events.step import NOT_TOLD
from tracing.sites.engine import SITES
from tracing.timeline.spans import COUNT_NAMES

SPAN = st.tuples(
    st.sampled_from([site.name for site in SITES if site.name not in SHARED_SITES]),
    st.integers(1, 10**15),
    st.integers(0, 10**9),
    st.one_of(st.none(), st.text(min_size=1, max_size=80)),
    st.integers(-1, 10**6),
    st.integers(1, 3),
)


def test_one_frame_of_all_processes(tmp_path: Path) -> None:
    front = TraceWriter(tmp_path, 10, ["front end"], threads={1: "MainThread", 7: "tokenizer"})
    front.span("input.process", 100, 150, "req", thread=7).span("llm.generate", 90, 900)
    front.renamed("req-1f", "req").child("0_req-1f", "req-1f").close()
    core = TraceWriter(tmp_path, 11, ["core"], parent=10)
    core.span("scheduler.schedule", 200, 210, step=0, value=5, extra=1).batch(0, {"req-1f": 5})
    core.counts(0, {"prefill_requests": 1, "kv_blocks": 64}).message(0, 123456, outputs=1)
    core.span("scheduler.free", 300, 310, "req-1f", extra="FINISHED_STOPPED").close()
    read = timeline.read(tmp_path)
    columns = ["start_ns", "end_ns", "site", "stage", "role", "pid", "thread_name", "request", "step", "value"]
    assert read.spans[columns].astype(object).where(read.spans[columns].notna(), None).values.tolist() == [
        [90, 900, "llm.generate", "generate", "front end", 10, "MainThread", None, -1, 0],
        [100, 150, "input.process", "tokenize", "front end", 10, "tokenizer", "req", -1, 0],
        [200, 210, "scheduler.schedule", "schedule", "core", 11, "MainThread", None, 0, 5],
        [300, 310, "scheduler.free", "free", "core", 11, "MainThread", "req-1f", -1, 0],
    ]
    assert read.batches.values.tolist() == [[11, 0, "req-1f", 5]]
    [step] = read.steps.to_dict("records")
    assert (step["step"], step["prefill_requests"], step["kv_blocks"], step["waiting"]) == (0, 1, 64, 0)
    assert read.messages.values.tolist() == [[11, 0, 123456, 0, 1]]
    assert read.renamed.values.tolist() == [[10, "req-1f", "req"]]
    assert read.children.values.tolist() == [[10, "0_req-1f", "req-1f"]]
    assert read.texts[11, int(read.spans["extra"].iloc[-1])] == "FINISHED_STOPPED"
    assert (read.torn, read.dropped) == (0, 0)


def test_the_queue_between_core_and_worker_has_the_role_of_its_process(tmp_path: Path) -> None:
    for pid, role in ((1, "core"), (2, "worker")):
        TraceWriter(tmp_path, pid, [role]).span("queue.get", pid, 9).span("queue.put", 10 + pid, 19).close()
    seen = timeline.read(tmp_path).spans[["role", "stage", "share"]].astype(str).values.tolist()
    assert seen == [
        ["core", "wait: worker", "wait"],
        ["worker", "wait: core", "wait"],
        ["core", "dispatch", "work"],
        ["worker", "reply", "work"],
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(SPAN, max_size=20), min_size=1, max_size=3))
def test_any_spans_are_read_back(processes: list[list[tuple[str, int, int, str | None, int, int]]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        wanted = []
        for pid, spans in enumerate(processes):
            writer = TraceWriter(Path(scratch), pid, ["core"])
            for site, start, length, request, step, thread in spans:
                writer.span(site, start, start + length, request, step, thread=thread)
                wanted.append((start, start + length, site, pid, thread, request, step))
            writer.close()
        read = timeline.read(Path(scratch))
        columns = ["start_ns", "end_ns", "site", "pid", "thread", "request", "step"]
        frame = read.spans[columns].astype(object)
        found = [tuple(row) for row in frame.where(frame.notna(), None).values.tolist()]
        assert sorted(found, key=str) == sorted(wanted, key=str)
        assert [row[0] for row in found] == sorted(row[0] for row in wanted)
        assert read.torn == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_a_file_cut_anywhere_is_read_as_far_as_it_goes(cut: int, zeroed: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        writer = TraceWriter(Path(scratch), 5, ["core"])
        for step in range(3):
            writer.span("scheduler.schedule", 10 + step, 20 + step, step=step)
            writer.batch(step, {f"a request with a long name, number {step}": step, "short": 1})
        path = writer.close()
        whole = path.read_bytes()
        kept = whole[: min(cut, len(whole))]
        path.write_bytes(kept + bytes(len(whole) - len(kept) if zeroed and len(kept) >= 48 else 0))
        read = timeline.read(Path(scratch))
        assert len(read.spans) <= 3 and set(read.spans["start_ns"]) <= {10, 11, 12}
        assert len(read.batches) % 2 == 0  # a batch is there whole or not at all
        assert set(read.batches["request"]) <= {
            "",
            "short",
            *(f"a request with a long name, number {n}" for n in range(3)),
        }


def test_a_hole_is_counted(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, 5, ["core"])
    writer.span("kv.lookup", 1, 2).span("kv.lookup", 3, 4).span("kv.lookup", 5, 6)
    path = writer.close()
    data = bytearray(path.read_bytes())
    data[48 * 2 + 46 : 48 * 2 + 48] = b"\0\0"  # the second span's kind, which is written last
    path.write_bytes(data)
    read = timeline.read(tmp_path)
    assert read.spans["start_ns"].tolist() == [1, 5] and read.torn == 1


def test_dropped_spans_are_told(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 5, ["core"]).span("kv.lookup", 1, 2).close(dropped=7)
    assert timeline.read(tmp_path).dropped == 7


def test_without_its_process_file_a_process_is_still_read(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 5, ["core"]).span("kv.lookup", 1, 2).close()
    (tmp_path / "process-5.json").write_text("{half of")
    read = timeline.read(tmp_path)
    assert read.spans["site"].tolist() == ["kv.lookup"] and read.processes[0].is_lost


def test_what_is_no_trace_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match=r"tracing\.record"):
        timeline.read(tmp_path)
    path = TraceWriter(tmp_path, 5, ["core"]).close()
    path.write_bytes(layout.MAGIC + (99).to_bytes(8, "little") + path.read_bytes()[16:])
    with pytest.raises(EnginescopeError, match="schema 99"):
        timeline.read(tmp_path)
    path.write_bytes(b"PNG of a cat" * 20)
    with pytest.raises(EnginescopeError, match="no event file of enginescope"):
        timeline.read(tmp_path)


@pytest.mark.parametrize("left", [b"", b"\0" * 20, b"\0" * 48, b"\0" * 5000])
def test_a_process_killed_at_birth_spoils_nothing(tmp_path: Path, left: bytes) -> None:
    TraceWriter(tmp_path, 5, ["core"]).span("kv.lookup", 1, 2).close()
    (tmp_path / "events-6.bin").write_bytes(left)
    read = timeline.read(tmp_path)
    assert read.spans["pid"].tolist() == [5] and read.torn == 0
    assert [process.is_lost for process in read.processes] == [False, True]


@pytest.mark.parametrize("said", ["[]", "7", '{"pid": 5}', '{"pid": 5, "serves": [], "sites": [1], "threads": {}}'])
def test_a_process_file_of_something_else_is_as_none(tmp_path: Path, said: str) -> None:
    TraceWriter(tmp_path, 5, ["worker"]).span("worker.execute", 1, 9).span("gc", 3, 4).close()
    (tmp_path / "process-5.json").write_text(said)
    read = timeline.read(tmp_path)
    assert read.spans["role"].astype(str).tolist() == ["worker", "worker"]  # said by the sites that were seen
    assert read.processes[0].is_lost


def test_a_span_of_an_unknown_site_is_torn(tmp_path: Path) -> None:
    path = TraceWriter(tmp_path, 5, ["core"]).span("kv.lookup", 1, 2).span("kv.lookup", 3, 4).close()
    data = bytearray(path.read_bytes())
    data[48 * 2 + 44 : 48 * 2 + 46] = (60_000).to_bytes(2, "little")
    path.write_bytes(data)
    read = timeline.read(tmp_path)
    assert read.spans["start_ns"].tolist() == [1] and read.torn == 1


def test_half_a_record_at_the_end_is_torn(tmp_path: Path) -> None:
    path = TraceWriter(tmp_path, 5, ["core"]).span("kv.lookup", 1, 2).span("kv.lookup", 3, 4).close()
    path.write_bytes(path.read_bytes()[:-10])
    assert timeline.read(tmp_path).torn == 1


def test_what_both_sides_have_belongs_to_the_main_role_of_the_process(tmp_path: Path) -> None:
    TraceWriter(tmp_path, 5, ["core input", "core"]).span("gc", 1, 2).close()
    TraceWriter(tmp_path, 6, ["front end", "core input", "core", "worker"]).span("gc", 3, 4).close()
    assert timeline.read(tmp_path).spans["role"].astype(str).tolist() == ["core", "front end"]


def test_batches_of_two_cores_are_one_category(tmp_path: Path) -> None:
    for pid in (5, 6):
        TraceWriter(tmp_path, pid, ["core"]).batch(0, {f"request {pid}": 3, "both": 1}).close()
    batches = timeline.read(tmp_path).batches
    assert str(batches["request"].dtype) == "category"
    assert batches["request"].astype(str).tolist() == ["request 5", "both", "request 6", "both"]


def test_device_work_is_read_with_its_step(tmp_path: Path) -> None:
    late = (1 << 40) + 5
    TraceWriter(tmp_path, 7, ["worker"]).device(0, 10, 20).device(1, late, late + 30, uncertainty=4).close()
    assert timeline.read(tmp_path).device.to_dict("records") == [
        {"pid": 7, "step": 0, "begin_ns": 10, "end_ns": 20, "given_ns": 10, "uncertainty_ns": 1},
        {"pid": 7, "step": 1, "begin_ns": late, "end_ns": late + 30, "given_ns": late, "uncertainty_ns": 4},
    ]


def test_device_work_of_an_earlier_recording_is_left_out(tmp_path: Path) -> None:
    """The first piece was read late, the second's launches rested while nothing was recorded, the third ran on into
    this recording."""
    worker = TraceWriter(tmp_path, 7, ["worker"]).device(-1, 10, 90).device(5, 20, 130, given=120)
    worker.device(6, 95, 160).device(7, 160, 170).close(first_ns=100)
    device = timeline.read(tmp_path).device
    assert device[["step", "begin_ns", "end_ns"]].to_numpy().tolist() == [[6, 100, 160], [7, 160, 170]]


@pytest.mark.parametrize(
    ("last_count", "untold"),
    [("kv_blocks", [NOT_TOLD, NOT_TOLD, 0, 0, -1, -1]), ("sequence_limit", [7, 7, 7, 7, -1, -1])],
)
def test_what_an_earlier_trace_does_not_tell_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_count: str, untold: list[int]
) -> None:
    names = COUNT_NAMES[: COUNT_NAMES.index(last_count) + 1]
    monkeypatch.setattr(traces, "COUNT_NAMES", names)
    TraceWriter(tmp_path, 11, ["core"]).counts(0, dict.fromkeys(names, 7)).close()
    steps = timeline.read(tmp_path).steps
    assert (list(steps), steps.values.tolist()) == (["pid", "step", *COUNT_NAMES], [[11, 0, *[7] * 9, *untold]])
