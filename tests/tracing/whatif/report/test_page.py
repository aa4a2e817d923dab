"""The page of an answer: time beside gain, to scale, and whatever stands in it escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from probes.statistics.intervals import Estimate
from tests.tracing.whatif.report.test_answer import MS, OUTPUTS, SCHEDULE, UPDATE, stage
from tracing.whatif.__main__ import show
from tracing.whatif.answer import WhatIfAnswer
from tracing.whatif.report.drawing import PANEL, DrawnStage, drawing
from tracing.whatif.report.page import html

ANSWER = WhatIfAnswer(3.0 * MS, 8, (SCHEDULE, OUTPUTS, UPDATE))


def attributes(text: str, element: str, name: str) -> list[float]:
    return [float(each) for each in re.findall(rf'<{element}[^>]* {name}="([-0-9.]+)"', text)]


def test_bars_are_as_long_as_the_times() -> None:
    drawn = [DrawnStage(name, time, Estimate(0.1, None, None), "") for name, time in (("a", 1e6), ("b", 4e6))]
    assert attributes(str(drawing(drawn, "gain")), "rect", "width") == [PANEL / 4, PANEL]


def test_intervals_are_to_scale_and_0_has_a_line() -> None:
    """From -0.1 to 0.3 in one panel: 0 lies at a quarter of it, 0.1 in its middle."""
    text = str(drawing([DrawnStage("a", 1e6, Estimate(0.1, -0.1, 0.3), "")], "gain"))
    zero, low = attributes(text, "line", "x1")
    _, high = attributes(text, "line", "x2")
    [dot] = attributes(text, "circle", "cx")
    assert (high - low, zero - low, dot - low) == (PANEL, PANEL / 4, PANEL / 2)


def test_a_gain_without_an_interval_is_a_dot_alone() -> None:
    text = str(drawing([DrawnStage("a", 1e6, Estimate(0.1, None, None), "")], "gain"))
    assert text.count("<circle") == 1 and text.count("<line") == 1  # that of 0


def test_the_page_has_the_first_line_all_stages_and_each_size() -> None:
    page = html(replace(ANSWER, nested=("execute holds forward",)))
    assert f"<h1>{ANSWER.first_line()}</h1>" in page
    assert page.count("<circle") == 3 and "execute holds forward" in page
    assert "+11.1% [+9.9%, +12.4%] tok/s" in page and "1.80 ms [1.60 ms, 2.00 ms]" in page
    assert "-0.02 [-0.12, 0.08]" in page


def test_a_gain_that_is_not_foretold_leaves_the_scale_to_the_others() -> None:
    """A stage of half the step, +100 %, is drawn as far out as one that is all of it."""
    half, whole = (stage(name, time, Estimate(1.0, None, None)) for name, time in (("a", 1.5 * MS), ("b", 3.0 * MS)))
    dots = attributes(html(WhatIfAnswer(3.0 * MS, 8, (half, whole))), "circle", "cx")
    assert dots[0] == dots[1]


def test_names_are_escaped() -> None:
    page = html(WhatIfAnswer(3.0 * MS, 8, (stage("<b>", MS, Estimate(1.0, 0.9, 1.1)),), nested=("<i>",)))
    assert "<b>" not in page and "<i>" not in page and "&lt;b&gt;" in page


def test_the_page_is_written_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(ANSWER, as_json=True, page=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == html(ANSWER)
    out, err = capsys.readouterr()
    assert out.startswith("{") and err == f"Wrote {tmp_path / 'page.html'}\n"


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match=r"cannot write .*: Is a directory"):
        show(ANSWER, as_json=False, page=tmp_path)
