"""What evictions and preemptions cost: read from a pool and a request, and of synthetic traces."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.breakdown.batches.prefixcache import Preemption, PrefixCacheUse, preemptions, prefix_cache
from tracing.breakdown.review import Review
from tracing.hooks.scheduling import evictions
from tracing.hooks.scheduling.evictions import Evictions
from tracing.page.tables.prefixcache import preemption_table
from tracing.timeline.steps.admissions import admissions
from tracing.timeline.steps.anatomy import anatomy

GROUP = b"\0\0\0\0"
POOL = SimpleNamespace(hash_block_size=16, cached_block_hash_to_block={b"1" + GROUP: 1, b"2" + GROUP: 2})
MANAGER = SimpleNamespace(block_pool=POOL)


def request(tokens: int, *hashes: bytes) -> Any:
    return SimpleNamespace(num_tokens=tokens, block_hashes=list(hashes))


def test_evicted_blocks_are_told_once_and_known_for_long() -> None:
    kept = Evictions()
    assert (kept.kept(POOL), kept.lost(0, MANAGER, request(40, b"a", b"b"))) == ((2, 0), 0)
    kept.remember([b"a" + GROUP, b"c" + GROUP])
    assert (kept.kept(POOL), kept.kept(POOL)) == ((2, 2), (2, 0))
    assert kept.lost(0, MANAGER, request(40, b"a", b"b")) == 16  # the second block was never cached
    assert kept.lost(16, MANAGER, request(40, b"b", b"c")) == 16  # behind what was found
    assert kept.lost(0, MANAGER, request(16, b"a")) == 0  # its last token is computed anyway, and the block with it
    assert kept.lost(0, SimpleNamespace(), request(40, b"a")) == 0  # a version that calls it otherwise
    assert kept.lost(0) == 0  # one that gives the request by its name
    assert kept.lost(16, MANAGER, request(40, b"b", b"c"), 39) == 16  # 0.33 tells how many tokens may be found at most


def test_after_a_reset_nothing_was_evicted() -> None:
    kept = Evictions()
    kept.kept(POOL)
    kept.remember([b"a" + GROUP])
    kept.kept(SimpleNamespace(cached_block_hash_to_block={}))
    assert kept.lost(0, MANAGER, request(40, b"a")) == 0


def test_only_the_last_evicted_blocks_are_known(monkeypatch: Any) -> None:
    monkeypatch.setattr(evictions, "MOST_KNOWN", 2)
    kept = Evictions()
    kept.remember([each + GROUP for each in (b"a", b"b", b"c")])
    assert (list(kept.known), kept.untold) == ([b"b", b"c"], 3)


@given(evicted=st.sets(st.integers(0, 9)), found=st.integers(0, 6), tokens=st.integers(1, 100))
def test_lost_is_what_going_from_block_to_block_gives(evicted: set[int], found: int, tokens: int) -> None:
    kept = Evictions()
    kept.remember([bytes([number]) + GROUP for number in evicted])
    whole = (tokens - 1) // 16
    lost = 0
    for number in range(found, whole):
        if number not in evicted:
            break
        lost += 16
    hashes = [bytes([number]) for number in range(tokens // 16)]
    assert kept.lost(found * 16, MANAGER, request(tokens, *hashes)) == lost


# --- a trace: steps of 1,000 ns; a is admitted in step 0 and preempted for b in step 2, and runs again in step 4 ---


def recorded(folder: Path, again: bool = True, computed: int = 0) -> timeline.Timeline:
    core = TraceWriter(folder, 11, ["core"])
    core.span("core.add_request", 0, 1, "a", value=40).span("core.add_request", 1, 2, "b", value=20)
    ran = [{"a": 24}, {"a": 1, "b": 20}, {"b": 1}, {"b": 1}, {"a": 9, "b": 1} if again else {"b": 1}]
    for number, tokens in enumerate(ran):
        at = 1000 * number
        core.span("scheduler.schedule", at, at + 100, step=number).batch(number, tokens)
        core.counts(number, {"decode_requests": 1, "kv_cached_blocks": 3, "kv_evicted_blocks": 2})
        core.span("scheduler.update", at + 500, at + 600, step=number)
    core.span("kv.lookup", 10, 11, "a", step=0, value=16, extra=0)
    core.span("kv.lookup", 20, 21, "b", step=0, value=0, extra=0)  # there was no room for it yet
    core.span("kv.lookup", 1020, 1021, "b", step=1, value=0, extra=16)
    core.span("kv.allocate", 2010, 2020, "b", step=2, extra=1)
    core.span("scheduler.preempt", 2030, 2040, "a", step=2, value=computed)
    if again:
        core.span("kv.lookup", 4010, 4011, "a", step=4, value=32)
    core.close()
    return timeline.read(folder)


def test_an_admission_is_the_last_look_before_a_request_runs(tmp_path: Path) -> None:
    rows = admissions(recorded(tmp_path))[["request", "step", "found", "evicted", "place"]]
    assert rows.values.tolist() == [["a", 0, 16, 0, 0], ["b", 1, 0, 16, 0], ["a", 4, 32, 0, 1]]


def test_what_a_preempted_request_computes_again(tmp_path: Path) -> None:
    read = recorded(tmp_path)
    steps, admitted = anatomy(read), admissions(read)
    victims = preemptions(read, steps, admitted)
    assert victims == (Preemption("a", 11, 2, 2030, "KV blocks for b", 16 + 24 + 1, 9, 4000 - 2030),)
    assert prefix_cache(read, steps, admitted, victims) == (PrefixCacheUse(11, 2, 60, 16, 10, 16, 1, 9),)
    part = steps[:1]
    assert prefix_cache(read, part, admitted, ()) == (PrefixCacheUse(11, 1, 40, 16, 2, 0, 0, 0),)
    assert preemptions(read, part, admitted) == ()


def test_drafts_that_were_rejected_were_not_held(tmp_path: Path) -> None:
    """Of 41 tokens that were found or scheduled the engine had 38 when it let go of them."""
    read = recorded(tmp_path, computed=38)
    [lost] = preemptions(read, anatomy(read), admissions(read))
    assert (lost.held_tokens, lost.again_tokens) == (38, 6)


def test_of_two_engines_the_preemptions_say_which() -> None:
    row = Preemption("a", 11, 2, 2030, "KV blocks for b", 41, None, None)
    one: Review = SimpleNamespace(preemptions=(row,), roles={"core": (11,)})  # type: ignore[assignment]
    two: Review = SimpleNamespace(preemptions=(row,), roles={"core": (11, 12)})  # type: ignore[assignment]
    tables = [preemption_table(review) for review in (one, two)]
    assert [table.rows for table in tables] == [
        [["a", "2", "KV blocks for b", "41", "n/a", "n/a"]],
        [["a", "11", "2", "KV blocks for b", "41", "n/a", "n/a"]],
    ]
    assert [[table.columns[place] for place in table.text] for table in tables] == [["victim", "for lack of"]] * 2


def test_a_request_that_did_not_come_back_computed_nothing_again(tmp_path: Path) -> None:
    read = recorded(tmp_path, again=False)
    [lost] = preemptions(read, anatomy(read), admissions(read))
    assert (lost.held_tokens, lost.again_tokens, lost.wait_ns) == (41, None, None)


def test_what_a_request_held_that_was_admitted_before_the_trace_is_not_known(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"])
    for number, tokens in enumerate(({"a": 1}, {}, {"a": 30})):
        at = 1000 * number
        core.span("scheduler.schedule", at, at + 100, step=number).batch(number, tokens).counts(number, {})
        core.span("scheduler.update", at + 500, at + 600, step=number)
    core.span("scheduler.preempt", 1030, 1040, "a", step=1).span("kv.lookup", 2010, 2011, "a", step=2, value=16).close()
    read = timeline.read(tmp_path)
    victims = preemptions(read, anatomy(read), admissions(read))
    assert victims == (Preemption("a", 11, 1, 1030, "not known", None, None, 2000 - 1030),)


def test_without_a_refusal_the_cause_is_not_known(tmp_path: Path) -> None:
    core = TraceWriter(tmp_path, 11, ["core"]).span("scheduler.schedule", 0, 100, step=0)
    core.counts(0, {"decode_requests": 1}).span("scheduler.preempt", 50, 60, "a", step=0)
    core.span("scheduler.update", 500, 600, step=0).close()
    read = timeline.read(tmp_path)
    assert [each.cause for each in preemptions(read, anatomy(read), admissions(read))] == ["not known"]
