"""Server-sent events: however a stream is cut, the same events come out."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from probes.client.sse import Events

TEXT = st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"]), max_size=12)
END = st.sampled_from(["\n", "\r\n", "\r"])
NOISE = st.sampled_from([": ping", "event: message", "id: 7", "retry: 10", "nonsense", ":"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream with every freedom that the format gives, and the data that stand in it."""
    end, text, expected = draw(END), draw(st.sampled_from(["", "\ufeff"])), []
    for lines in draw(st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=5)):
        for line in lines:
            text += f"{draw(NOISE)}{end}" * draw(st.integers(0, 1))
            text += (
                f"data:{draw(st.just(' ')) if line[:1] in ('', ' ') else draw(st.sampled_from(['', ' ']))}{line}{end}"
            )
        text += end * draw(st.integers(1, 2))
        expected.append("\n".join(lines).encode())
    return text.encode(), expected


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cut_gives_the_same_events(stream: tuple[bytes, list[bytes]], places: list[int]) -> None:
    data, expected = stream
    events = Events()
    assert [event for chunk in cut(data, places) for event in events.feed(chunk)] == expected
    assert events.close() == []


@given(streams())
def test_byte_by_byte(stream: tuple[bytes, list[bytes]]) -> None:
    data, expected = stream
    events = Events()
    assert [event for byte in data for event in events.feed(bytes((byte,)))] == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=8))
def test_rubbish_neither_breaks_it_nor_depends_on_the_cut(data: bytes, places: list[int]) -> None:
    whole, parts = Events(), Events()
    expected = whole.feed(data) + whole.close()
    assert [event for chunk in cut(data, places) for event in parts.feed(chunk)] + parts.close() == expected


def test_a_token_in_two_halves() -> None:
    data = 'data: {"text":"Grüße 🙂"}\n\n'.encode()
    for place in range(len(data)):
        events = Events()
        found = events.feed(data[:place]) + events.feed(data[place:])
        assert [json.loads(event)["text"] for event in found] == ["Grüße 🙂"]


def test_an_event_without_its_blank_line_is_given_at_the_end() -> None:
    events = Events()
    assert events.feed(b"data: a\n\ndata: [DONE]") == [b"a"]
    assert events.close() == [b"[DONE]"]


def test_other_fields_and_comments_are_no_events() -> None:
    assert Events().feed(b": hi\n\nevent: ping\n\nid: 3\n\ndata\n\ndata: x\n\n") == [b"", b"x"]


def test_a_long_line_is_joined_once() -> None:
    """In time that grows with the bytes, not with their square: 50 MB in 5,000 pieces."""
    events, piece = Events(), b"x" * 10_000
    events.feed(b"data: ")
    for _ in range(5_000):
        assert events.feed(piece) == []
    assert [len(event) for event in events.feed(b"\n\n")] == [50_000_000]
