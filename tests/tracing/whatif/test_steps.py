"""The steps of an engine out of records that were taken while it went on writing."""

from __future__ import annotations

import numpy as np

from tracing.events.layout import COUNTS, LIST, MORE, RECORD, SPAN
from tracing.whatif.steps import SCHEDULE, EngineRecords, RecordedEngine


def test_a_list_may_be_taken_in_two_parts() -> None:
    records = np.zeros(3, RECORD)
    records["kind"], records["site"], records["step"] = (SPAN, LIST, MORE), (SCHEDULE, COUNTS, 0), (7, 7, 0)
    records["start"], records["extra"] = (10, 11, 1), (2, 0, 0)  # a request in prefill is the payload's first word
    taken = EngineRecords()
    taken.add(1, records[:2])
    assert RecordedEngine(taken.whole()).scheduled(0, 100).prefills.tolist() == [False]  # not known yet
    taken.add(1, records[:0])
    taken.add(1, records[2:])
    assert RecordedEngine(taken.whole()).scheduled(0, 100).prefills.tolist() == [True]
