"""Which CUDA graphs ran the steps: by kind of step the mode, the sizes, the padding, and the steps that ran none."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from probes.columns import column
from tracing.timeline.spans import Timeline, on_device
from tracing.timeline.steps.anatomy import by_kind, scheduled_tokens, working
from tracing.timeline.steps.graphs import MODES, NO_GRAPH, graphs

MOST_SIZES = 5


@dataclass(frozen=True)
class GraphSize:
    """A size to which batches were padded."""

    tokens: int = field(metadata=column("of the batch with its padding", "tokens"))
    steps: int = field(metadata=column("that ran at it", "steps"))


@dataclass(frozen=True)
class GraphUse:
    """A row of `graphs`: the steps of a kind that ran in one mode."""

    kind: str = field(metadata=column("as in `steps`"))
    mode: str = field(metadata=column("FULL, PIECEWISE, or NONE: they missed a graph, or there are none"))
    steps: int = field(metadata=column("how many there were", "steps"))
    share: float = field(metadata=column("of the steps of the kind", "1"))
    sizes: tuple[GraphSize, ...] = field(metadata=column("the five that most of them ran at; empty: without a graph"))
    padding_share: float = field(metadata=column("of the tokens that were computed, those of no request", "1"))


def graph_use(timeline: Timeline, steps: pd.DataFrame) -> tuple[GraphUse, ...]:
    """A row a kind of step and mode; none where it was not told, or there is no device and so no graph.

    `steps` is the frame of `anatomy`, or a part of it.
    """
    modes = graphs(timeline)
    if not on_device(timeline) and (modes["mode"] == NO_GRAPH).all():
        return ()
    each = steps.merge(modes, on=["pid", "step"])
    return tuple(
        _use(kind, mode, mine, len(rows))
        for kind, rows in by_kind(working(each))
        for mode in MODES
        if len(mine := rows[rows["mode"] == mode])
    )


def _use(kind: str, mode: str, mine: pd.DataFrame, of_kind: int) -> GraphUse:
    """Some steps of one kind and mode, of so many of the kind."""
    sizes = mine["padded_tokens"].value_counts().head(MOST_SIZES) if mode != NO_GRAPH else {}
    padded = int(mine["padded_tokens"].sum())
    return GraphUse(
        kind=kind,
        mode=mode,
        steps=len(mine),
        share=len(mine) / of_kind,
        sizes=tuple(GraphSize(int(tokens), int(steps)) for tokens, steps in sizes.items()),
        padding_share=max(padded - int(scheduled_tokens(mine).sum()), 0) / max(padded, 1),
    )
