"""The run in plain sentences: what was best, what each axis did, and what to doubt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from offline.budgets.reason import reason_sentences
from offline.differences.difference import Difference
from offline.differences.observations import CELL_AXES
from offline.differences.run import HEADLINE
from offline.environments.environment import differing_sentences
from offline.page.cards import uneven
from offline.page.reported import ReportedRun
from offline.records.run import marks
from offline.spec.grid import VLLM
from offline.spec.plan import enough_starts
from offline.table.answers import sentences
from offline.table.cells import Row
from offline.table.files import arm_name, first_line, number
from probes.statistics.intervals import NONE_SEEN

ONE_START = "Each arm was started once, so differences between arms cannot be told from differences between starts: "
MORE_STARTS = "run again with --starts {count}."
REST_OF_STARTS = "the run ended before it came to the others, python -m offline.sweep --resume continues it."
MOST_EFFECTS = 4  # of one axis, in sentences


def summary(run: ReportedRun) -> list[str]:
    """Sentences, the answer first."""
    sentences = [*answer(run), *_best(run), *_effects(run), *reason_sentences(run.reasons)]
    return [
        *dict.fromkeys(sentences),
        *(stage.sentence for stage in run.changed_stages),
        *differing_sentences(run.record.environments),
        *_answers(run),
        *uneven(run),
        *run.differences.notes,
        *_doubts(run),
    ]


def answer(run: ReportedRun) -> list[str]:
    """The first sentences: of environments which is faster and why, of anything else which setting is best."""
    metric = run.differences.by_metric.get(HEADLINE)
    rows = [row for row in metric.main if row.axis == VLLM] if metric else []
    reasons = [reason for reason in run.reasons if reason.difference in rows]
    return [*axis_effects(rows), *reason_sentences(reasons)] if rows else [*_best(run)]


def _best(run: ReportedRun) -> Iterator[str]:
    rows = sorted(run.measured, key=lambda row: -(number(row, HEADLINE) or 0))
    if not rows:
        yield "No cell was measured."
        return
    best, metric = rows[0], run.differences.by_metric.get(HEADLINE)
    yield f"Highest throughput: {best[HEADLINE]:.1f} output tok/s at {place(run, best)}."
    if metric is None:
        return
    peers = [row for row in rows[1:] if _same_cell(row, best)]
    ties = [run.name(row) for row in peers if run.differences.is_best(HEADLINE, row)]
    if not run.differences.is_best(HEADLINE, best):
        return
    if ties:
        yield f"It cannot be told apart from {' and '.join(ties)}."
    elif peers:
        factor = float(str(best[HEADLINE])) / float(str(peers[0][HEADLINE]))
        yield f"It beats the runner-up, {run.name(peers[0])}, by {factor - 1:.1%}, beyond the interval."


def place(run: ReportedRun, row: Row) -> str:
    """Where a cell is: `batch 16, block_size=32 prefix_caching=on, warm`."""
    return f"batch {row['batch_size']}, {run.name(row)}"


def _same_cell(row: Row, other: Row) -> bool:
    return all(row.get(key) == other.get(key) for key in CELL_AXES)


def _effects(run: ReportedRun) -> Iterator[str]:
    metric = run.differences.by_metric.get(HEADLINE)
    if metric is not None and metric.main:
        for axis in dict.fromkeys(row.axis for row in metric.main):
            yield from axis_effects([row for row in metric.main if row.axis == axis])
        return
    starts = {arm_name(row, run.axes): row["starts"] for row in run.measured}
    if len(starts) > 1 and set(starts.values()) == {1}:
        more = MORE_STARTS.format(count=enough_starts(len(starts)))
        yield ONE_START + (REST_OF_STARTS if run.record.spec.starts > 1 else more)


def axis_effects(rows: Sequence[Difference]) -> Iterator[str]:
    """The differences of one axis; of many only the largest and the smallest that can be told."""
    if len(rows) <= MOST_EFFECTS:
        yield from map(effect, rows)
        return
    clear = sorted((row for row in rows if row.verdict != NONE_SEEN), key=lambda row: -abs(math.log(row.ratio)))
    yield from map(effect, dict.fromkeys([*clear[:1], *clear[-1:]]))
    match len(clear):
        case 0:
            which = "none stands out from the noise"
        case 1:
            which = "this is the only one that stands out from the noise"
        case count:
            which = f"these are the largest and the smallest of {count} that stand out from the noise"
    yield f"{rows[0].axis}: {which}; all {len(rows)} differences are in the table."


def effect(row: Difference) -> str:
    """`block_size 32 → 64: no difference seen (a true one of 2.1% would have been found in four runs of five).`"""
    where = "" if row.cell == "all" else f" ({row.cell})"
    start = f"{row.axis} {row.from_} → {row.to}{where}: "
    if row.verdict == NONE_SEEN:
        return f"{start}no difference seen (a true one of {row.least} would have been found in four runs of five)."
    return f"{start}{row.verdict}, {row.ratio:.3f} times the throughput ({row.interval})."


def _answers(run: ReportedRun) -> list[str]:
    return sentences(run.rows, [arm_name(row, run.axes) for row in run.rows])


def _doubts(run: ReportedRun) -> Iterator[str]:
    yield from marks(run.record)
    yield first_line(run.drift)
    reasons = Counter(f"{row['status']}: {row['reason']}" for row in run.rows if row["status"] != "ok")
    for reason, count in reasons.items():
        yield f"{count} of {len(run.rows)} cells {reason}"
    wrong = [row for row in run.rows if str(row["cache_check"]).startswith("differs")]
    if wrong:
        yield f"In {len(wrong)} of {len(run.rows)} cells the cached tokens are not the expected ones."
