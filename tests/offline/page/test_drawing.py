"""Figures of the page drawn as SVG files, from what plotly would draw."""

from __future__ import annotations

from xml.etree import ElementTree

import plotly.graph_objects as go
import pytest

from offline.page.charts import empty_chart
from offline.page.drawing import HEIGHT, LEFT, DrawnAxis, axis, drawing

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</svg><script>alert(1)</script>\x07"


def parsed(figure: go.Figure) -> ElementTree.Element:
    return ElementTree.fromstring(drawing(figure, EVIL))


def paths(figure: go.Figure, css: str) -> list[str]:
    """The routes of a drawing's paths of one kind, with those of the legend."""
    return [each.attrib["d"] for each in parsed(figure).iter(f"{SVG}path") if each.get("class") == css]


def test_where_values_stand_and_which_are_written() -> None:
    linear, log = DrawnAxis(0, 100, 0, 200), DrawnAxis(0.1, 10, 0, 100, is_log=True)
    assert (linear.place(25), log.place(1), log.place(0)) == (50, 50, 0)
    assert linear.ticks() == [0, 20, 40, 60, 80, 100]
    assert log.ticks() == pytest.approx([0.1, 0.2, 0.5, 1, 2, 5, 10])
    assert DrawnAxis(3.1, 4.2, 0, 100, is_log=True).ticks() == [3.1, 4.2]  # no round value between them
    assert axis([], 0, 100, is_log=True) == DrawnAxis(0, 1, 0, 100)  # nothing to show


def test_a_line_has_its_known_points_marks_and_intervals() -> None:
    figure = empty_chart("x", "y")
    marks = {"symbol": ["circle", "x", "diamond", "circle-open"]}
    errors = {"array": [1, 1, 1, 0], "arrayminus": [2, 2, 2, 0]}
    line = {"x": [0, 1, 2, 3], "y": [4, None, 6, 8], "error_y": errors, "marker": marks, "line_color": "#123456"}
    figure.add_scatter(mode="lines+markers", name="a", **line)
    route, _ = paths(figure, "line")  # and its key in the legend
    assert route.startswith(f"M{LEFT:.1f} ") and route.count("L") == 2
    assert len(paths(figure, "whisker")) == 2
    fills = [each.get("fill") for each in parsed(figure).iter(f"{SVG}path") if each.get("stroke-width") == "1.6"]
    assert fills == ["#123456", "#123456", "none"]


def test_steps_go_along_first_and_what_a_click_would_show_is_left_out() -> None:
    figure = empty_chart("x", "y")
    figure.add_scatter(x=[0, 1], y=[1, 2], name="steps", line={"color": "#111111", "dash": "dot", "shape": "hv"})
    figure.add_scatter(x=[0, 1], y=[1, 2], name="hidden", visible="legendonly", line_color="#222222")
    route, _ = paths(figure, "line")
    assert "H" in route and "V" in route and "L" not in route
    assert "hidden" not in drawing(figure, "") and "stroke-dasharray" in drawing(figure, "")


def test_bars_stand_in_groups_under_their_names_and_a_band_between_its_edges() -> None:
    figure = empty_chart("", "y", barmode="group")
    for value in (1.0, 2.0):
        figure.add_bar(x=["one", "other"], y=[value, value], name=f"{value}", marker_color="#123456")
    sizes = [each for each in parsed(figure).iter(f"{SVG}rect") if each.get("fill") == "#123456"]
    lefts = [float(each.attrib["x"]) for each in sizes]
    assert lefts == [lefts[0], lefts[1], *(left + float(sizes[0].attrib["width"]) for left in lefts[:2])]
    heights = [float(each.attrib["height"]) for each in sizes]
    assert heights[2] == pytest.approx(2 * heights[0], abs=0.2)
    band = empty_chart("x", "y")
    band.add_scatter(x=[0, 10], y=[0, 1], name="a", line_color="#111111")
    band.add_vrect(x0=2, x1=4, fillcolor="#abcdef", opacity=0.15, line_width=0)
    (rect,) = (each for each in parsed(band).iter(f"{SVG}rect") if each.get("fill") == "#abcdef")
    assert float(rect.attrib["width"]) == pytest.approx(float(rect.attrib["x"]) - LEFT, abs=0.1)


def test_names_stay_text_and_many_of_them_take_several_rows() -> None:
    figure = empty_chart(EVIL, EVIL)
    for number in range(12):
        figure.add_scatter(x=[1], y=[1], name=f"{EVIL} {number}", line_color="#111111")
    root = parsed(figure)
    tags = ("svg", "title", "style", "rect", "line", "text", "path")
    assert {each.tag for each in root.iter()} == {f"{SVG}{name}" for name in tags}
    assert sum(EVIL[:-1] in (each.text or "") for each in root.iter(f"{SVG}text")) == 14
    assert float(root.attrib["height"]) > HEIGHT + 60
