"""Why requests stay in the scheduler's queue: read from a scheduler, and as parts of the requests' time."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.batches import queue
from tracing.breakdown.requests import budget, waits
from tracing.events import step
from tracing.hooks.scheduling.heldback import held_back
from tracing.hooks.wrappers.requests import looked_at
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow
from tracing.timeline.steps.anatomy import anatomy
from tracing.timeline.steps.heldback import reasons, wait_name


class Queue(deque[Any]):
    def peek_request(self) -> Any:
        return self[0]


def request(status: str = "WAITING", tokens: int = 10, lora: int | None = None, encoder: bool = False) -> Any:
    return SimpleNamespace(
        status=SimpleNamespace(name=status),
        num_tokens=tokens,
        lora_request=SimpleNamespace(lora_int_id=lora) if lora else None,
        has_encoder_inputs=encoder,
    )


def scheduler(*waiting: Any, running: tuple[Any, ...] = (), chunked: bool = True, **more: Any) -> Any:
    """One of at most 100 tokens and 4 sequences a step."""
    known = {
        "waiting": Queue(waiting),
        "running": list(running),
        "max_num_scheduled_tokens": 100,
        "max_num_running_reqs": 4,
        "pause_state": SimpleNamespace(name="UNPAUSED"),
        "lora_config": None,
        "scheduler_config": SimpleNamespace(enable_chunked_prefill=chunked, max_num_batched_tokens=100),
        "vllm_config": SimpleNamespace(speculative_config=None),
    }
    return SimpleNamespace(**known | more)


def output(tokens: int = 0, requests: int = 1, preempted: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(
        total_num_scheduled_tokens=tokens, num_scheduled_tokens=range(requests), preempted_req_ids=preempted
    )


GRAMMAR = "WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR"
LOADING = Queue([request("WAITING_FOR_STREAMING_REQ")])
ADAPTERS = SimpleNamespace(max_loras=1)
SPECULATION = SimpleNamespace(speculative_config=SimpleNamespace(max_num_new_slots_for_drafting=2))


@pytest.mark.parametrize(
    ("given", "out", "reason", "head"),
    [
        (scheduler(), output(100), "nobody waits", "nobody waits"),
        (scheduler(request()), output(100), "token budget", "token budget"),
        (scheduler(request(), vllm_config=SPECULATION), output(91, 3), "not known", "not known"),
        (scheduler(request(), vllm_config=SPECULATION), output(92, 3), "token budget", "token budget"),
        (scheduler(request(), running=(request(),) * 4), output(4), "sequence limit", "sequence limit"),
        (scheduler(request(), max_num_active_reqs=0), output(4), "sequence limit", "sequence limit"),
        (scheduler(request(), running=(request(),) * 4), output(4, preempted=("a",)), "KV blocks", "KV blocks"),
        (scheduler(request(tokens=97), chunked=False), output(4), "chunk threshold", "chunk threshold"),
        (scheduler(request(tokens=96), chunked=False), output(4), "not known", "not known"),
        (scheduler(request(encoder=True)), output(4), "encoder budget", "encoder budget"),
        (scheduler(request(GRAMMAR)), output(4), "grammar not ready", "grammar not ready"),
        (scheduler(request(GRAMMAR), request()), output(100), "token budget", "grammar not ready"),
        (scheduler(request("WAITING_FOR_REMOTE_KVS")), output(4), "remote KV", "remote KV"),
        (scheduler(kv_holding_waiting=LOADING), output(4), "streaming input", "streaming input"),
        (scheduler(request(), kv_holding_waiting=LOADING), output(4), "not known", "streaming input"),
        (scheduler(request(GRAMMAR), kv_holding_waiting=LOADING), output(4), "streaming input", "streaming input"),
        (
            scheduler(request(tokens=97), chunked=False, kv_holding_waiting=LOADING),
            output(4),
            "chunk threshold",
            "streaming input",
        ),
        (scheduler(request(), pause_state=SimpleNamespace(name="PAUSED_NEW")), output(4), "paused", "paused"),
        (
            scheduler(request(lora=2), running=(request(lora=1), request()), lora_config=ADAPTERS),
            output(4),
            "LoRA limit",
            "LoRA limit",
        ),
        (scheduler(request(lora=1), running=(request(lora=1),), lora_config=ADAPTERS), output(4), *("not known",) * 2),
    ],
)
def test_the_scheduler_says_why(given: Any, out: Any, reason: str, head: str) -> None:
    told = held_back(given, out)
    assert (step.HELD_BACK[told[0]], step.HELD_BACK[told[1]]) == (reason, head)
    assert told[2:] == (100, getattr(given, "max_num_active_reqs", 4))


def test_a_priority_queue_is_looked_at_no_further_than_its_head() -> None:
    head = request(GRAMMAR)
    heap = SimpleNamespace(peek_request=lambda: head)
    assert held_back(scheduler(waiting=heap), output(4))[:2] == (step.GRAMMAR, step.GRAMMAR)


def test_what_a_version_calls_otherwise_is_not_known() -> None:
    assert held_back(SimpleNamespace(waiting=[1]), output()) == (step.NOT_KNOWN, step.NOT_KNOWN, 0, 0)


def test_the_look_at_a_request_says_whether_it_is_ready() -> None:
    waiting = SimpleNamespace(request_id="a", status=SimpleNamespace(name=GRAMMAR))
    assert looked_at(False, waiting) == (0, step.GRAMMAR)
    assert looked_at(True, SimpleNamespace(request_id="a", status=SimpleNamespace(name="WAITING"))) == (0, 0)


def test_a_wait_for_remote_kv_is_counted_from_the_first_look() -> None:
    status = SimpleNamespace(name="WAITING_FOR_REMOTE_KVS")
    waiting = SimpleNamespace(request_id="far", status=status)
    assert looked_at(False, waiting) == (0, step.REMOTE_KV)
    again_ns, _ = looked_at(False, waiting)
    status.name = "WAITING"
    whole_ns, _ = looked_at(True, waiting)
    assert 0 < again_ns < whole_ns
    assert looked_at(True, waiting) == (0, 0)


# --- a trace: steps every 100 ns, a request that comes at 1,000 and is scheduled in the last of them ---

KEY = 12345


def only(folder: Path, held: list[int], looks: dict[int, int], refused: tuple[int, ...] = ()) -> tuple[Index, Flow]:
    """The steps from 950 on, with what held back others in each; `looks` are those at the request, by step."""
    core = TraceWriter(folder, 11, ["core"]).span("core.add_request", 990, 1000, "a-1", value=1)
    for number, reason in enumerate(held):
        at = 950 + 100 * number
        core.span("scheduler.schedule", at, at + 20, step=number).counts(number, {"held_back": reason})
        if number in looks:
            core.span("kv.remote_wait", at + 5, at + 6, "a-1", step=number, extra=looks[number])
        if number in refused:
            core.span("kv.allocate", at + 7, at + 8, "a-1", step=number, extra=1)
    last = len(held) - 1
    core.batch(last, {"a-1": 1}).message(last, KEY).close()
    end = 950 + 100 * last + 30
    flow = Flow("a-1", "a", None, 11, 11, 1000, end, "finished", (), 1, 1, np.array([last]), np.array([KEY]))
    return Index(timeline.read(folder)), flow


def test_the_queue_is_split_by_what_kept_a_request_in_it(tmp_path: Path) -> None:
    held = [0, step.TOKEN_BUDGET, step.TOKEN_BUDGET, step.NOT_KNOWN, step.SEQUENCE_LIMIT, step.NOT_TOLD, 0]
    index, flow = only(tmp_path, held, {2: step.GRAMMAR}, refused=(3,))
    parts = budget.budget(index, flow)
    assert {name: ns for name, ns in parts.items() if "queue" in name} == {
        "wait: scheduler queue": 50 + 100,  # until the next call, and where nothing was told
        "wait: scheduler queue (token budget)": 100,
        "wait: scheduler queue (grammar not ready)": 100 - 1,  # without the look itself
        "wait: scheduler queue (KV blocks)": 100 - 1,  # without the refusal
        "wait: scheduler queue (sequence limit)": 100,
    }
    assert reasons(index.timeline)["held_back"].tolist() == [*held[:3], step.KV_BLOCKS, *held[4:]]


def test_a_wait_for_remote_kv_has_its_own_name(tmp_path: Path) -> None:
    index, flow = only(tmp_path, [0, step.SEQUENCE_LIMIT, 0], {1: step.REMOTE_KV})
    parts = budget.budget(index, flow)
    assert (parts["wait: remote KV"], "wait: scheduler queue (sequence limit)" in parts) == (99, False)


def test_a_request_that_gives_up_has_waited_until_then(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"]).span("core.add_request", 990, 1000, "a-1", value=1)
    for number, reason in enumerate((step.NOBODY, step.KV_BLOCKS, step.KV_BLOCKS)):
        at = 950 + 100 * number
        core.span("scheduler.schedule", at, at + 20, step=number).counts(number, {"held_back": reason})
    core.span("scheduler.free", 1220, 1230, "a-1", extra="FINISHED_ABORTED").close()
    index = Index(timeline.read(tmp_path))
    none = np.zeros(0, dtype=np.int64)
    flow = Flow("a-1", "a", None, 11, 11, 1000, 1230, "aborted", (), 0, 1, none, none)
    parts = {
        "wait: scheduler queue": 50,
        "wait: scheduler queue (KV blocks)": 1220 - 1050,
        "free": 10,
        "unexplained": 0,
    }
    assert budget.budget(index, flow) == parts
    assert [(wait.name, wait.start_ns, wait.end_ns) for wait in waits.waits(index, flow)] == [
        ("wait: scheduler queue", 1000, 1220),
        ("wait: scheduler queue (KV blocks)", 1050, 1220),
    ]


def test_a_trace_that_does_not_tell_has_one_wait(tmp_path: Path) -> None:
    index, flow = only(tmp_path, [step.NOT_TOLD] * 4, {})
    assert budget.budget(index, flow)["wait: scheduler queue"] == 1250 - 1000


CODES = st.sampled_from([step.NOBODY, step.NOT_TOLD, step.TOKEN_BUDGET, step.SEQUENCE_LIMIT, step.KV_BLOCKS])


@settings(max_examples=30)
@given(
    held=st.lists(CODES, min_size=2, max_size=12),
    looks=st.dictionaries(st.integers(0, 10), st.sampled_from([step.GRAMMAR, step.STREAMING_INPUT]), max_size=5),
)
def test_the_split_is_what_going_from_step_to_step_gives(
    tmp_path_factory: pytest.TempPathFactory, held: list[int], looks: dict[int, int]
) -> None:
    looks = {number: code for number, code in looks.items() if 0 < number < len(held) - 1}
    index, flow = only(tmp_path_factory.mktemp("trace"), held, looks)
    by_hand: dict[str, int] = {}
    for number, code in list(enumerate(held))[:-1]:
        code, is_told = looks.get(number, code), number > 0 and (number in looks or code > step.NOT_TOLD)
        name = wait_name(code) if is_told else "wait: scheduler queue"
        # The request comes 50 ns after the first call; a look at it is no wait.
        by_hand[name] = by_hand.get(name, 0) + (50 if number == 0 else 100) - (number in looks)
    parts = budget.budget(index, flow)
    assert {name: ns for name, ns in parts.items() if name.startswith("wait")} == by_hand
    for wait in waits.waits(index, flow):
        assert wait.end_ns == index.start[wait.before]
        assert wait.start_ns in (index.end[wait.after], index.start[wait.after])


def test_the_head_of_the_queue_by_reason_and_the_use_of_budgets(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"])
    limits = {"token_limit": 100, "sequence_limit": 4}
    for number, counts in enumerate(
        [
            {"prefill_requests": 2, "prefill_tokens": 100, "head_held_back": step.TOKEN_BUDGET, "waiting": 5},
            {"prefill_requests": 1, "prefill_tokens": 50, "head_held_back": step.NOT_KNOWN, "waiting": 2},
            {"decode_requests": 4, "decode_tokens": 4, "head_held_back": step.TOKEN_BUDGET, "waiting": 1},
            {"decode_requests": 1, "decode_tokens": 1, "head_held_back": step.NOBODY},
        ]
    ):
        at = 1000 * number
        core.span("scheduler.schedule", at, at + 100, step=number).counts(number, counts | limits)
        core.span("scheduler.update", at + 500, at + 600, step=number)
    core.span("kv.allocate", 1050, 1060, "b", step=1, extra=1).close()
    steps = anatomy(read := timeline.read(tmp_path))
    blocks = queue.HeldBackSteps("KV blocks", 1, 1 / 3, 2)
    assert queue.held_back(read, steps) == (queue.HeldBackSteps("token budget", 2, 2 / 3, 3), blocks)
    assert queue.held_back(read, steps[1:2]) == (replace(blocks, share=1),)  # of a part of the trace
    assert queue.budget_use(steps) == (
        queue.BudgetUse("prefill", 2, 100, 0.75, 4, 0.375, 0.5),
        queue.BudgetUse("decode", 2, 100, 0.025, 4, 0.625, 0.5),
    )


def test_a_trace_that_does_not_tell_has_neither_table(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"]).span("scheduler.schedule", 0, 10, step=0)
    core.span("scheduler.update", 20, 30, step=0).counts(0, {"held_back": 2, "head_held_back": 2}).close()
    steps = anatomy(read := timeline.read(tmp_path))
    assert (queue.held_back(read, steps), queue.budget_use(steps)) == ((), ())
