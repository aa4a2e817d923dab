"""What a preempted request had computed: vLLM forgets it in the call."""

from __future__ import annotations

from types import SimpleNamespace

from tests.tracing.hooks.eventrecords import records, written
from tracing.hooks.wrappers import table
from tracing.sites.engine import ALL_SITES, CODES


def test_what_it_had_computed_is_read_before_it_is_forgotten() -> None:
    def preempt(scheduler: object, request: SimpleNamespace, timestamp: float) -> None:
        request.num_computed_tokens = 0

    hooked = table.wrapper_of(ALL_SITES[CODES["scheduler.preempt"]])(preempt)
    with written() as path:
        hooked(object(), SimpleNamespace(request_id="a", num_computed_tokens=38), 1.0)
        [span] = records(path)
    assert (span["site"], span["value"]) == (CODES["scheduler.preempt"], 38)
