"""How an arm fills its cards: how many, the memory of the fullest, how even they are; and what each GPU did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from offline.records.lines import Record, StartRecord, TrialRecord
from offline.records.workers import worker_memory
from probes.columns import column

Value = TypeVar("Value")
Card = tuple[str, int]  # name and number: the cards of two vendors have the same numbers
EVEN = 0.9  # least filled over fullest: below it the difference is named


@dataclass(frozen=True)
class CardColumns:
    """An arm's cards: the GPUs of its workers, or the workers themselves where they compute on the CPU."""

    cards: int | None = field(metadata=column("workers that share the model", "", "tensor * pipeline parallel size"))
    card_memory_bytes: int | None = field(
        metadata=column(
            "on the fullest: on a GPU, all that is in use; on CPU, a worker's weights and KV cache", "bytes"
        )
    )
    card_balance: float | None = field(
        metadata=column("how even they are: 1 is even; empty: one card, or not known", "", "least filled / fullest")
    )


@dataclass(frozen=True)
class CardFigures:
    """One visible GPU over a trial; its columns begin with its number, as `gpu0_`. None where it does not tell."""

    utilization_percent: float | None = field(
        metadata=column("share of time in which a kernel ran, mean of samples a second apart", "%")
    )
    power_w: float | None = field(metadata=column("power, mean of the same samples", "W"))
    memory_share: float | None = field(metadata=column("memory in use after the trial, of all its memory"))


CARD_FIGURES = tuple(each.name for each in fields(CardFigures))
OF_A_CARD = "gpu{}_"  # before a column's name: the card's number
NO_CARDS = CardColumns(None, None, None)


def card_columns(start: StartRecord, trials: Sequence[TrialRecord]) -> CardColumns:
    """The columns of an arm, from its first start and its trials."""
    resolved = start.resolved
    count = (resolved.tensor_parallel_size or 1) * (resolved.pipeline_parallel_size or 1)
    sizes = sorted(_gpu_bytes(trials) or _worker_bytes(start), reverse=True)[:count]  # others are not the engine's
    if len(sizes) < count:
        return CardColumns(count, None, None)
    return CardColumns(count, sizes[0], sizes[-1] / sizes[0] if count > 1 else None)


def card_numbers(records: Sequence[Record]) -> dict[Card, int]:
    """The number that each card of a run has in its columns: its own, or its place where two have the same."""
    uses = (use for record in records if isinstance(record, TrialRecord) for use in record.devices)
    cards = list(dict.fromkeys((use.name, use.index) for use in uses))
    apart = len({index for _, index in cards}) == len(cards)
    return {(name, index): index if apart else place for place, (name, index) in enumerate(cards)}


def card_figures(trial: TrialRecord, numbers: Mapping[Card, int]) -> dict[int, CardFigures]:
    """What each visible GPU did over a trial, by its number among `card_numbers`."""
    return {
        numbers[use.name, use.index]: CardFigures(use.utilization_percent, use.power_w, use.used_share)
        for use in trial.devices
    }


def card_row(number: int, figures: Mapping[str, Value]) -> dict[str, Value]:
    """A card's figures under the names of its columns: `{"gpu0_power_w": 300.0}`."""
    return {f"{OF_A_CARD.format(number)}{name}": value for name, value in figures.items()}


def _gpu_bytes(trials: Sequence[TrialRecord]) -> list[int]:
    """The most that was in use of each GPU after a trial."""
    most: dict[Card, int] = {}
    for use in (use for trial in trials for use in trial.devices if use.used_bytes):
        most[use.name, use.index] = max(most.get((use.name, use.index), 0), use.used_bytes or 0)
    return list(most.values())


def _worker_bytes(start: StartRecord) -> list[int]:
    """Weights and KV cache of each worker that told both."""
    workers = worker_memory(start.phases, start.memory)
    parts = ((worker.weights_bytes, worker.kv_cache_bytes) for worker in workers)
    return [weights + cache for weights, cache in parts if weights is not None and cache is not None]
