"""A part of a trace: the requests and steps of some seconds, or of some requests, each as in the whole trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tests.tracing.stories import KEY
from tests.tracing.test_review import run
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.findings import Findings, analyze
from tracing.breakdown.requests.chosen import WindowChoice

SECOND = 10**9


def one_a_second(folder: Path, requests: int = 5) -> None:
    """Requests of `LLM`, one in each second from 1 s on, each in a step of 0.2 s of its own."""
    front, core = TraceWriter(folder, 10, ["front end"]), TraceWriter(folder, 11, ["core"], parent=10)
    front.span("gc", 0, 1)
    for number in range(requests):
        at, name = (number + 1) * SECOND, f"{number}-x"
        front.span("llm.generate", at, at + SECOND // 2).span("llm.add_request", at + 30, at + 80, str(number))
        front.renamed(name, str(number)).span("input.assign_id", at + 40, at + 45, name)
        front.span("client.send", at + 50, at + 60, name)
        core.span("core.receive", at + 70, at + 75, name, thread=2).span("core.add_request", at + 90, at + 95, name)
        core.span("scheduler.schedule", at + 1000, at + 1100, step=number).batch(number, {name: 1})
        core.counts(number, {"prefill_requests": 1, "prefill_tokens": 1}).message(number, KEY + number)
        core.span("scheduler.update", at + SECOND // 5, at + SECOND // 5 + 100 * number, step=number)
        core.span("scheduler.free", at + SECOND // 5, at + SECOND // 5 + 1, name, value=1, extra="FINISHED_STOPPED")
        front.span("output.process", at + SECOND // 4, at + SECOND // 4 + 100, step=KEY + number)
    front.close()
    core.close()


def part(folder: Path, choice: WindowChoice) -> Findings:
    return analyze(timeline.read(folder), choice)


@pytest.mark.parametrize(
    "choice, requests",
    [
        (WindowChoice(), [0, 1, 2, 3, 4]),
        (WindowChoice(from_s=2), [1, 2, 3, 4]),
        (WindowChoice(to_s=2), [0]),
        (WindowChoice(from_s=2, to_s=3.5), [1, 2]),
        (WindowChoice(requests=(2, 3)), [1, 2]),
        (WindowChoice(requests=(5, 9)), [4]),
    ],
)
def test_what_is_in_a_part_is_as_in_the_whole(tmp_path: Path, choice: WindowChoice, requests: list[int]) -> None:
    one_a_second(tmp_path)
    whole, chosen = part(tmp_path, WindowChoice()), part(tmp_path, choice)
    names = [f"{number}-x" for number in requests]
    assert [flow.request for flow in chosen.flows] == list(chosen.budgets.index) == names
    assert chosen.budgets.sum(axis=1).tolist() == whole.budgets.loc[names].sum(axis=1).tolist()
    assert chosen.steps["step"].tolist() == requests
    assert chosen.times.frame.equals(whole.times.frame.loc[names])
    assert chosen.review.requests.total == sum(kind.count for kind in chosen.review.steps) == len(requests)
    assert chosen.window.first == requests[0] + 1 and chosen.review.problems == ()
    assert bool(chosen.review.window) == (choice != WindowChoice())


def test_a_part_says_what_it_is(tmp_path: Path) -> None:
    one_a_second(tmp_path)
    review = part(tmp_path, WindowChoice(from_s=2, to_s=3.5)).review
    assert review.window == "chosen: 2.00 s to 3.50 s after the start of the trace, 2 of 5 requests"


@pytest.mark.parametrize(
    "choice, reason",
    [
        (
            WindowChoice(from_s=90),
            "no step began after 90 s: the trace ends at 5.50 s, and second 0 is its first span, not the start of the",
        ),
        (WindowChoice(from_s=90, to_s=95), "no step began between 90 s and 95 s: the trace ends at 5.50 s"),
        (WindowChoice(requests=(6, 7)), "there is no request 6: the trace has 5, numbered from 1"),
    ],
)
def test_a_part_with_nothing_in_it_is_refused(tmp_path: Path, choice: WindowChoice, reason: str) -> None:
    one_a_second(tmp_path)
    with pytest.raises(EnginescopeError, match=reason):
        part(tmp_path, choice)


@pytest.mark.parametrize(
    "options, says",
    [
        (("--requests", "3-2"), "'3-2' is not a request number or range, such as 33 or 33-96"),
        (("--from", "nan"), "argument --from: 'nan' is no time in a trace, in seconds"),
        (("--to", "inf"), "argument --to: 'inf' is no time in a trace, in seconds"),
        (("--from", "3", "--to", "2"), "--to 2 is not after --from 3"),
        (("--from", "3", "--requests", "2"), "--requests chooses the time by itself: leave out --from and --to"),
    ],
)
def test_a_choice_that_is_none_is_one_line(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    done = run(str(tmp_path), *options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and says in done.stderr


def test_the_command_reviews_a_part(tmp_path: Path) -> None:
    one_a_second(tmp_path)
    done = run(str(tmp_path), "--requests", "2-3")
    assert done.returncode == 0, done.stderr
    words = "chosen: 2.00 s to 3.25 s after the start of the trace, 2 of 5 requests"
    assert words in done.stdout.splitlines() and words in (tmp_path / "review.html").read_text()
    assert json.loads((tmp_path / "review.json").read_text())["window"] == words
