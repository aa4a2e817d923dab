"""The frames for notebooks: what they hold, and that every column of them is a documented one."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.columns import dictionary
from tests.tracing.stories import batch
from tracing.timeline import read
from tracing.timeline.columns import RequestRow, SpanRow, StepRow


@pytest.mark.parametrize("name, record", [("requests", RequestRow), ("steps", StepRow), ("spans", SpanRow)])
def test_every_column_is_documented(tmp_path: Path, name: str, record: type) -> None:
    batch(tmp_path)
    assert list(getattr(read(str(tmp_path)), name)) == [column.name for column in dictionary(record)]


def test_requests_are_a_row_each(tmp_path: Path) -> None:
    batch(tmp_path, finished=("0",), cut=("1",))
    requests = read(tmp_path).requests
    columns = ["request", "external_request", "state", "latency_ns", "output_tokens", "delivered_tokens", "step_count"]
    assert requests[columns].values.tolist() == [
        ["0-x", "0", "finished", 4000, 1, 1, 1],
        ["1-x", "1", "cut", 295, 1, 0, 1],
    ]
    assert requests["missing"].tolist() == ["", "scheduler.free, the end of it"]
