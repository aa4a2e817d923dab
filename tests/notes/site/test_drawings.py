"""The figures beside stops and the drawings that lead to them, on a synthetic trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from notes.site import frontpage, sequence
from notes.site.deployment import drawn
from notes.site.route import median_route
from notes.site.sitetimes import site_times
from tests.notes.smallnotes import streamed, two_chapters
from tracing.breakdown.findings import Findings


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return streamed(tmp_path_factory.mktemp("trace"))


def test_times_at_sites_are_those_of_the_trace(findings: Findings) -> None:
    times = site_times(findings)
    spans = findings.timeline.spans
    schedules = spans[spans["site"] == "scheduler.schedule"]
    lengths = (schedules["end_ns"] - schedules["start_ns"]).sort_values().tolist()
    assert (times["scheduler.schedule"].calls, times["scheduler.schedule"].median_ns) == (3, lengths[1])
    assert times["scheduler.schedule"].share == pytest.approx(sum(lengths) / findings.flows[0].latency_ns)
    assert "kv.lookup" not in times


def test_a_route_goes_through_the_roles_in_their_order(findings: Findings) -> None:
    route = median_route(findings)
    assert route is not None and (route.request, route.steps, route.steps_counted) == ("a-1", 3, 3)
    assert [(leg.part, leg.role) for leg in route.legs] == [
        *(("way in", role) for role in ("front end", "core input", "core")),
        *(("step", role) for role in ("core", "worker", "core", "core output", "front end")),
    ]
    before, after = (leg for leg in route.legs if leg.part == "step" and leg.role == "core")
    assert [call.site for call in before.calls] == ["scheduler.schedule", "executor.dispatch"]
    assert [call.site for call in after.calls] == ["scheduler.update"]
    worker = next(leg for leg in route.legs if leg.role == "worker")
    assert [(call.site, call.depth) for call in worker.calls] == [
        *(("worker.execute", 0), ("runner.prepare", 1), ("runner.forward", 1)),
    ]
    back = route.legs[-1]
    assert [call.site for call in back.calls] == [
        *("client.receive", "output.process", "output.deliver", "async.generate"),
    ]
    assert route.between_ns["front end → core"] == findings.review.hops[0].median_ns


def test_the_sequence_has_every_call_and_message_and_leads_to_stops(findings: Findings) -> None:
    route = median_route(findings)
    assert route is not None
    svg = sequence.drawing(route, {"scheduler.schedule": "walkthrough/05.html#budget", "core.send": "never"})
    assert svg.count('class="stage"') == sum(len(leg.calls) for leg in route.legs)
    assert svg.count('class="message"') == len(route.legs) - 1
    assert svg.count('href="walkthrough/05.html#budget"') == 2  # the call, and the wait in its queue
    assert all(f">{role}</text>" in svg for role in ("front end", "core input", "core", "core output", "worker"))


def test_lanes_lead_to_stops(findings: Findings) -> None:
    from tracing.page.sections import drawings

    plain, led = drawings(findings), drawings(findings, {"runner.forward": "x.html#forward"})
    assert "<a " not in "".join(svg for *_, svg in plain)
    assert all('<a href="x.html#forward">' in svg for *_, svg in led)


def test_links_lead_to_the_first_stop_of_a_site(tmp_path: Path) -> None:
    assert drawn.site_links(two_chapters(tmp_path), None, frontpage.CHAPTERS) == {
        "scheduler.schedule": "walkthrough/01-engine.html#one-step"
    }
