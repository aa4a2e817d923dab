"""What two papers say of these settings, beside what a run measured: a small model on a small machine."""

from __future__ import annotations

from offline.load.planning.schedule import level_name
from offline.traffic.factors import factor_text, knee_factor, rate_ratio
from offline.traffic.results import LoadResults
from offline.variants.builtin import BASELINE, PAGE
from probes.statistics.intervals import Estimate

HEADINGS = ("statement", "in the paper", "here", "agrees")
CHUNKED = f"{PAGE}+chunked-prefill"
PAGED_ATTENTION = "Kwon et al., PagedAttention (SOSP 2023), Figure 12"
SARATHI = "Agrawal et al., Sarathi-Serve (OSDI 2024), ablation"


def paper_rows(results: LoadResults) -> list[list[str]]:
    """A row a statement; `not measured` where the run lacks a variant that it needs."""
    return [*_sustained(results), *_chunks(results)]


def _sustained(results: LoadResults) -> list[list[str]]:
    """The factor of the sustained rate over static batching."""
    statement = f"{PAGED_ATTENTION}: the engine sustains a multiple of the rate of a server without its batching"
    paper = "up to 22 times FasterTransformer's rate; normalized latency turns up sharply at the knee"
    if not {BASELINE, PAGE} <= set(results.variants):
        return [[statement, paper, f"not measured: needs {BASELINE} and {PAGE}", ""]]
    factor = knee_factor(results.knee(PAGE), results.knee(BASELINE))
    if factor is None:
        knees = [f"{name}: {results.knee(name).sentence}" for name in (PAGE, BASELINE)]
        return [[statement, paper, f"not known: {'; '.join(knees)}", ""]]
    return [[statement, paper, f"{factor_text(factor)} times", _agrees(factor, above=True)]]


def _chunks(results: LoadResults) -> list[list[str]]:
    """The directions of TTFT and of the longest stall when prompts are computed in chunks."""
    parts = (("ttft", "TTFT grows", True), ("longest_itl_s", "the longest ITL shrinks", False))
    measured = {CHUNKED, PAGE} <= set(results.variants)
    rows = []
    for name, claim, above in parts:
        statement = f"{SARATHI}: with chunked prefill {claim}"
        if not measured:
            rows.append([statement, claim, f"not measured: needs {CHUNKED} and {PAGE}", ""])
            continue
        rate = results.levels(CHUNKED)[-1]
        factor, level = rate_ratio(results, CHUNKED, PAGE, rate, name), level_name(rate, "req/s")
        here = f"at {level} {factor_text(factor)} times" if factor else f"not known at {level}"
        rows.append([statement, claim, here, _agrees(factor, above)])
    return rows


def _agrees(factor: Estimate | None, above: bool) -> str:
    """Whether a factor's whole interval lies on the side that a paper says."""
    if factor is None or factor.low is None or factor.high is None:
        return "cannot be told from one start"
    if factor.low <= 1 <= factor.high:
        return "no difference seen"
    return "yes" if (factor.low > 1) == above else "no"
