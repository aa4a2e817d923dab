"""What evictions and preemptions cost, forced on the real CPU engine and told by the review."""

from __future__ import annotations

import pytest

from tests.engine.recording import FORKED, Trace, record_program
from tracing.breakdown.batches.prefixcache import PrefixCacheUse
from tracing.breakdown.findings import Findings, findings
from tracing.timeline.steps.admissions import admissions

pytestmark = [pytest.mark.engine, pytest.mark.slow(40)]


@pytest.fixture(scope="module")
def evicting(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    trace = record_program("evicting", tmp_path_factory.mktemp("evicting") / "trace", **FORKED)
    assert trace.completed.returncode == 0, trace.completed.stderr[-3000:]
    return trace


@pytest.fixture(scope="module")
def analysis(evicting: Trace) -> Findings:
    return findings(evicting.folder)


@pytest.mark.parametrize(
    ("name", "found_tokens", "evicted_tokens"), [("new", 0, 0), ("evicted", 0, 128), ("found", 128, 0)]
)
def test_a_prompt_is_new_evicted_or_found(
    evicting: Trace, analysis: Findings, name: str, found_tokens: int, evicted_tokens: int
) -> None:
    [line] = [line for line in evicting.completed.stdout.splitlines() if line.startswith(f"{name}: ")]
    [internal] = [flow.request for flow in analysis.flows if flow.external == line.split()[1]]
    looks = admissions(analysis.timeline)
    looks = looks[looks["request"] == internal]
    assert looks[["found", "evicted"]].values.tolist() == [[found_tokens, evicted_tokens]]


def test_the_cost_of_evictions_and_preemptions(analysis: Findings) -> None:
    [row] = analysis.review.prefix_cache
    preempted = int(analysis.steps["preempted"].sum())
    prompts = 3 * 129 + 2 * 193 + 6 * 40
    expected = (11, prompts, 128, row.evicted_blocks, 128, preempted, row.preempted_tokens)
    assert row == PrefixCacheUse(row.core_pid, *expected)
    assert preempted > 0 and row.preempted_tokens > 0 and row.evicted_blocks is not None and row.evicted_blocks > 4


def test_each_victim_has_its_cause(analysis: Findings) -> None:
    names = {flow.request for flow in analysis.flows}
    for each in analysis.review.preemptions:
        assert each.request in names and each.held_tokens is not None and each.again_tokens is not None
        assert 0 <= each.again_tokens <= each.held_tokens
        assert each.cause == "KV blocks for itself" or each.cause.removeprefix("KV blocks for ") in names - {
            each.request
        }
