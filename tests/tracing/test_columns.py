"""The frames for notebooks: what they hold, and that every column of them is in the room's dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from probes.columns import dictionary, markdown
from tests.tracing.stories import batch
from tracing.breakdown.review import Review
from tracing.timeline import read
from tracing.timeline.columns import RequestRow, SpanRow, StepRow

README = Path(__file__).resolve().parents[2] / "tracing" / "README.md"


@pytest.mark.parametrize("name, record", [("requests", RequestRow), ("steps", StepRow), ("spans", SpanRow)])
def test_every_column_is_documented(tmp_path: Path, name: str, record: type) -> None:
    batch(tmp_path)
    assert list(getattr(read(str(tmp_path)), name)) == [column.name for column in dictionary(record)]
    assert markdown(record) in README.read_text()


def records(cls: type) -> Iterator[type]:
    """A class of records and those that its fields hold."""
    yield cls
    for hint in get_type_hints(cls).values():
        for part in (hint, *get_args(hint)):
            if is_dataclass(part):
                yield from records(part)


@pytest.mark.parametrize("record", list(records(Review)), ids=lambda record: record.__name__)
def test_every_column_of_the_review_is_documented(record: type) -> None:
    assert markdown(record) in README.read_text()


def test_requests_are_a_row_each(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1",))
    requests = read(tmp_path).requests
    columns = ["request", "external_request", "state", "latency_ns", "output_tokens", "delivered_tokens", "step_count"]
    assert requests[columns].values.tolist() == [
        ["0-x", "0", "finished", 4000, 1, 1, 1],
        ["1-x", "1", "cut", 295, 1, 0, 1],
    ]
    assert requests["missing"].tolist() == ["", "scheduler.free, the end of it"]
