"""The sender sends each request once, in order and never before its time."""

from __future__ import annotations

import os
import time

import pytest

from offline.torchbaseline.serving import RESET_S
from offline.variants.sender import CONNECT_LIMIT_S, come_first, send_closed, send_open, wait_until


def test_nothing_is_sent_before_its_time() -> None:
    begin_ns = time.monotonic_ns()
    times_ns = [(number, begin_ns + number * 2_000_000) for number in range(20)]
    sent: list[tuple[int, int, int]] = []
    send_open(times_ns, lambda *request: sent.append(request))
    assert [(number, due_ns) for number, due_ns, _ in sent] == times_ns
    assert all(now_ns >= due_ns for _, due_ns, now_ns in sent)


def test_what_is_late_already_is_sent_at_once() -> None:
    past_ns = time.monotonic_ns() - 1_000_000_000
    assert wait_until(past_ns) < time.monotonic_ns()
    sent: list[int] = []
    send_open([(1, past_ns), (2, past_ns)], lambda number, *_: sent.append(number))
    assert sent == [1, 2]


def test_the_sender_comes_before_other_processes_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[tuple[int, int, int]] = []

    def grant(pid: int, policy: int, parameters: os.sched_param) -> None:
        requests.append((pid, policy, parameters.sched_priority))

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", grant)
    come_first()
    assert requests == [(0, os.SCHED_FIFO, 1)]
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    come_first()


def test_a_closed_level_waits_for_each_request() -> None:
    events: list[str] = []
    end_ns = time.monotonic_ns() + 60_000_000_000
    send_closed([7, 8], end_ns, lambda number, *_: events.append(f"sent {number}"), lambda: events.append("ended"))
    assert events == ["sent 7", "ended", "sent 8", "ended"]


def test_a_closed_level_sends_nothing_after_its_end() -> None:
    sent: list[int] = []
    send_closed([7, 8], time.monotonic_ns(), lambda number, *_: sent.append(number), lambda: None)
    assert sent == []


def test_the_sender_waits_for_a_variant_that_ends_what_was_given_up() -> None:
    """The baseline may take a long step for that, and listens for the next rate only then."""
    assert CONNECT_LIMIT_S > RESET_S
