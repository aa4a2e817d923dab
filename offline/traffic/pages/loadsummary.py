"""A load run in plain sentences: where each variant stops keeping up, its factor over the baseline, what to doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from offline.load.planning.schedule import level_name
from offline.records.workers import unbalanced, worker_memory
from offline.traffic.backlog import needed_requests
from offline.traffic.factors import factor_text, knee_factor, ratio
from offline.traffic.figures import LATE_S
from offline.traffic.results import LoadResults
from offline.traffic.rows import STARVED_SHARE, RateRow, late_note, lost_note, starved_note
from offline.variants.builtin import BASELINE
from probes.console import printable

LONGEST_ERROR = 200  # characters
FEW_STARTS = "Each variant was started once: intervals are over blocks of time, and no difference is claimed."


def load_summary(results: LoadResults, rows: Sequence[RateRow]) -> list[str]:
    """Sentences, the answer first."""
    return [*_knees(results), *_peaks(results), *_doubts(results, rows)]


def _knees(results: LoadResults) -> Iterator[str]:
    for variant in results.variants:
        knee = results.knee(variant)
        factor = knee_factor(knee, results.knee(BASELINE)) if variant != BASELINE else None
        over = f"; {factor_text(factor)} times {BASELINE}" if factor else ""
        yield f"{variant}: {knee.sentence}{over}."


def _peaks(results: LoadResults) -> Iterator[str]:
    """The most output tokens a second of each variant, over the baseline's: known even where no knee is."""
    peaks = {variant: _peak(results, variant) for variant in results.variants}
    for variant, values in peaks.items():
        if variant != BASELINE and BASELINE in peaks:
            base = peaks[BASELINE]
            factor = factor_text(ratio(values, base)) if all((*values, *base)) else None
            over = f", {factor} times the most of {BASELINE}" if factor else f"; {BASELINE} or it gave none in a start"
            yield f"{variant} reached {sum(values) / len(values):.0f} output tok/s{over}."


def _peak(results: LoadResults, variant: str) -> list[float]:
    """The most output tokens a second of each start."""
    starts: dict[int, float] = {}
    for each in results.rates:
        if each.variant == variant:
            number = each.figures.measured.start
            starts[number] = max(starts.get(number, 0.0), each.figures.output_tok_s.value)
    return list(starts.values())


def _short(results: LoadResults) -> Iterator[str]:
    """What it takes to judge the rates that had too few requests; a search has short trials on purpose."""
    short = [each for each in results.rates if each.figures.backlog and each.figures.backlog.is_short]
    if short and not results.run.spec.knee:
        rates = len({(each.variant, each.rate_req_s) for each in short})
        needed = max(needed_requests(each.figures.backlog.scatter) for each in short if each.figures.backlog)
        yield (
            f"Rates that are undecided for want of requests: {rates}; to call one sustained takes up to {needed:,} "
            "(--knee sends as many, or a longer --duration)."
        )


def _unfinished(results: LoadResults, rows: Sequence[RateRow]) -> Iterator[str]:
    """The rates that have latencies of some requests only, and why most of the failed ones failed."""
    for row in rows:
        if row.unfinished or row.failed:
            error = results.error(row.variant, row.rate_req_s)
            error = f" ({printable(error)[:LONGEST_ERROR]})" if row.failed and error else ""
            yield (
                f"{row.variant} at {row.level}: {row.unfinished} of {row.requests} requests unfinished, "
                f"{row.failed} failed{error}; its latencies are of the others."
            )


def _late(rows: Sequence[RateRow]) -> Iterator[str]:
    """The rate at which the sender was the latest, and at how many others it was late; the table has them all."""
    late = sorted((row for row in rows if row.late_p99_s > LATE_S), key=lambda row: row.late_p99_s)
    if late:
        *others, worst = late
        more = f"; at {len(others)} more by more than {LATE_S * 1e3:g} ms" if others else ""
        yield f"{worst.variant} at {worst.level}: {late_note(worst.late_p99_s)}{more}."


def _doubts(results: LoadResults, rows: Sequence[RateRow]) -> Iterator[str]:
    if results.run.synthetic:
        yield f"The traffic is synthetic: {results.run.workload}."
    if all(row.starts == 1 for row in rows):
        yield FEW_STARTS
    yield from _short(results)
    yield from _unfinished(results, rows)
    yield from _late(rows)
    for figures in (each.figures for each in results.rates):
        measured = figures.measured
        where = f"{measured.variant} at {level_name(measured.rate_req_s, 'req/s')}, start {measured.start}"
        if measured.steps_lost:
            yield f"{where}: {lost_note(measured.steps_lost)}."
        if figures.starved_share > STARVED_SHARE:
            yield f"{where}: {starved_note(figures.starved_share)}."
    for start in results.starts:
        for sentence in unbalanced(worker_memory(start.phases, start.memory)):
            yield f"{start.variant}, start {start.start}: {sentence}."
    failures = [start for start in results.starts if start.reason]
    yield from (f"{start.variant}, start {start.start}: {start.state}: {start.reason}" for start in failures)
    yield from results.run.notes
