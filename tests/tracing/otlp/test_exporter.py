"""Requests as spans of OpenTelemetry, as a collector gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from probes.errors import EnginescopeError
from tests.tracing.otlp.receiver import Collector, attributes, collector
from tests.tracing.stories import DURATIONS, only, stream
from tracing.breakdown.requests.parts import parts
from tracing.otlp import exporter
from tracing.otlp.exporter import Exporter, endpoint, share

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01"
NS = [7] * 40
WALL_NS = 1_700_000_000_000_000_000


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


def send(received: Collector, folder: Path, *traced: tuple[str, bool], of: float = 1.0) -> bool:
    """Send the one request of a story with what was noted of its parents; whether it was one of the share."""
    story = stream(folder, NS)
    for at, (parent, is_own) in enumerate(traced):
        story.front.traced("a", parent, is_own, 1000 + at)
    story.front.close(anchor={"monotonic_ns": 500, "wall_ns": WALL_NS + 500, "uncertainty_ns": 1})
    index, flow = only(folder)
    sender = Exporter(received.url, of)
    is_sent = sender.add(index, flow)
    sender.flush()
    return is_sent


@settings(max_examples=10, deadline=None)
@given(DURATIONS)
def test_parts_follow_one_another_and_are_the_budget(tmp_path_factory: pytest.TempPathFactory, ns: list[int]) -> None:
    folder = tmp_path_factory.mktemp("story")
    story = stream(folder, ns)
    cut = parts(*only(folder))
    assert (cut[0].start_ns, cut[-1].end_ns) == (1000, story.now)
    assert [part.end_ns for part in cut[:-1]] == [part.start_ns for part in cut[1:]]
    totals: dict[str, int] = {}
    for part in cut:
        totals[part.name] = totals.get(part.name, 0) + part.end_ns - part.start_ns
    assert totals == {name: length for name, length in story.parts.items() if length}


def test_a_request_without_a_header_is_a_trace_of_its_own(received: Collector, tmp_path: Path) -> None:
    assert send(received, tmp_path)
    [root] = received.named(exporter.NAME)
    index, flow = only(tmp_path)
    assert root.parent_span_id == b"" and received.services == {"enginescope"}
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (WALL_NS + flow.start_ns, WALL_NS + flow.end_ns)
    told = attributes(root)
    assert (told["gen_ai.request.id"], told["gen_ai.usage.completion_tokens"], told["enginescope.steps"]) == ("a", 2, 2)
    assert sum(value for name, value in told.items() if name.endswith("_ms")) == pytest.approx(flow.latency_ns / 1e6)
    children = [span for span in received.spans if span is not root]
    assert {span.parent_span_id for span in children} == {root.span_id}
    assert [span.name for span in children] == [part.name for part in parts(index, flow)]
    [first, second] = received.named("forward")
    assert (attributes(first), attributes(second)["enginescope.step"]) == (
        {"enginescope.role": "worker", "process.pid": 12, "enginescope.step": 0},
        1,
    )


def test_a_request_hangs_below_its_header(received: Collector, tmp_path: Path) -> None:
    assert send(received, tmp_path, (HEADER, False))
    [span] = received.named(exporter.NAME)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert {each.trace_id.hex() for each in received.spans} == {TRACE}


def test_the_engines_own_span_comes_before_the_header(received: Collector, tmp_path: Path) -> None:
    assert send(received, tmp_path, (HEADER, False), (f"00-{TRACE}-1111111111111111-01", True))
    assert received.named(exporter.NAME)[0].parent_span_id.hex() == "1111111111111111"


def test_what_its_caller_does_not_sample_is_not_sent(received: Collector, tmp_path: Path) -> None:
    assert not send(received, tmp_path, (f"00-{TRACE}-{PARENT}-00", False))
    assert received.spans == []


@pytest.mark.parametrize(("trace", "is_sent"), [("a" * 16 + "0" * 15 + "1", True), ("a" * 16 + "f" * 16, False)])
def test_a_share_is_of_traces(received: Collector, tmp_path: Path, trace: str, is_sent: bool) -> None:
    """The number of a trace says whether it is one of them: whoever else samples the same share has the same ones."""
    assert send(received, tmp_path, (f"00-{trace}-{PARENT}-01", False), of=0.01) == is_sent
    assert bool(received.spans) == is_sent


def test_the_rest_of_a_long_request_is_one_span(
    received: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "MOST_PARTS", 5)
    assert send(received, tmp_path)
    index, flow = only(tmp_path)
    assert len(received.spans) == 1 + 5 + 1
    [rest] = received.named(exporter.REST)
    assert attributes(rest)["enginescope.parts"] == len(parts(index, flow)) - 5
    assert rest.end_time_unix_nano == WALL_NS + flow.end_ns


def test_a_collector_that_refuses(received: Collector, tmp_path: Path) -> None:
    received.status = 400
    with pytest.raises(EnginescopeError, match="did not take"):
        send(received, tmp_path)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://host/otlp", "https://host/otlp"),
    ],
)
def test_where_spans_go(url: str, target: str) -> None:
    assert endpoint(url) == target


@pytest.mark.parametrize("url", ["", "127.0.0.1:4318", "grpc://host:4317", "http://"])
def test_what_is_no_collector(url: str) -> None:
    with pytest.raises(EnginescopeError) as error:
        endpoint(url)
    assert error.value.code == 2


@pytest.mark.parametrize(("text", "number"), [("1%", 0.01), ("0.5", 0.5), ("100%", 1.0), ("1", 1.0)])
def test_a_share(text: str, number: float) -> None:
    assert share(text) == number


@pytest.mark.parametrize("text", ["0", "-1%", "101%", "half", "nan", "inf"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(EnginescopeError, match="is not a share"):
        share(text)
