"""Public reports of hangs, each called by the cause that was found for it."""

from __future__ import annotations

import pytest

from tests.tracing.hang.reports import REPORTS, Report
from tracing.hang.chain import explain
from tracing.hang.situation import of_reading
from tracing.hang.texts.dumptext import read_text


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.address.removeprefix("https://github.com/"))
def test_a_report_of_the_field(report: Report) -> None:
    answer = explain(of_reading(read_text(report.text, report.address))).answers[0]
    assert (answer.cause, report.words in answer.text) == (report.cause, True), answer
    assert answer.process.startswith(report.process)
