"""Does another setting still answer the same? Greedy tokens of each arm on fixed prompts, against the first arm's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from offline.records.lines import AnswersRecord, Record
from offline.spec.grid import Arm
from probes.columns import column


@dataclass(frozen=True)
class AnswerColumns:
    """An arm's answers beside those of the reference arm; None where either has none."""

    greedy_agreement: float | None = field(
        metadata=column(
            "share of greedy tokens that are those of the reference arm, up to the first that differs",
            "",
            "mean over fixed prompts",
        )
    )
    log_prob_difference: float | None = field(
        metadata=column("how far log probabilities of those tokens differ", "nat", "mean absolute difference")
    )
    answers_reference: str = field(metadata=column("the arm that answers are compared with; empty: not compared"))


NOT_COMPARED = AnswerColumns(None, None, "")


def answer_columns(grid: Sequence[Arm], records: Sequence[Record]) -> dict[str, AnswerColumns]:
    """The columns of each arm, by its id; the reference is the grid's first arm of the same model that answered."""
    by_arm = {record.arm: record for record in records if isinstance(record, AnswersRecord)}
    references: dict[object, Arm] = {}
    for arm in grid:
        if arm.id in by_arm:
            references.setdefault(arm.settings.get("model"), arm)
    return {
        arm.id: _compared(by_arm[reference.id], by_arm[arm.id], reference)
        for arm in grid
        if arm.id in by_arm and (reference := references[arm.settings.get("model")])
    }


def _compared(reference: AnswersRecord, other: AnswersRecord, arm: Arm) -> AnswerColumns:
    shared, gaps = [], []
    for number, (expected, answer) in enumerate(zip(reference.tokens, other.tokens, strict=True)):
        pairs = zip(expected, answer, strict=False)
        same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        shared.append(same / max(1, len(expected)))
        probabilities = [record.log_probs[number][:same] for record in (reference, other) if record.log_probs]
        if len(probabilities) == 2:
            gaps += [abs(a - b) for a, b in zip(*probabilities, strict=True)]
    difference = sum(gaps) / len(gaps) if gaps else None
    return AnswerColumns(sum(shared) / len(shared), difference, arm.name)


def sentences(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> list[str]:
    """`kv_cache_dtype=fp8: 93% of greedy tokens as with …`, a line an arm that is not the reference.

    `rows` are rows of the table, `names` the arm of each.
    """
    by_arm = dict(zip(names, rows, strict=True))
    return [
        f"{name}: {row['greedy_agreement']:.0%} of greedy tokens as {row['answers_reference']}, {_gap(row)}"
        for name, row in by_arm.items()
        if row.get("answers_reference") not in (None, "", name)
    ]


def _gap(row: Mapping[str, object]) -> str:
    gap = row["log_prob_difference"]
    return "log probabilities not known" if gap is None else f"log probabilities {gap:.4f} nat apart"
