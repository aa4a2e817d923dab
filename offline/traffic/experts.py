"""How evenly a mixture's experts were asked: tokens that each got, layer by layer, of the requests that finished."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from offline.load.planning.schedule import level_name
from offline.traffic.results import LoadResults

EXPERT_HEADINGS = (
    *("variant", "req/s", "start", "layer", "experts", "tokens", "mean", "busiest", "its tokens", "over the mean"),
)
EXPERTS = (
    "Tokens that each expert got, of the requests that finished: of each rate the layer that was most uneven. "
    "rates.jsonl has all layers and experts."
)


def expert_rows(results: LoadResults) -> Iterator[list[str]]:
    """A row a rate and start, where the engine told."""
    for each in results.rates:
        measured = each.figures.measured
        if not measured.expert_tokens or not any(map(sum, measured.expert_tokens)):
            continue
        counts = np.array(measured.expert_tokens)
        peaks = counts.max(axis=1) / np.maximum(counts.mean(axis=1), 1e-9)
        layer = int(peaks.argmax())
        row, busiest = counts[layer], int(counts[layer].argmax())
        names = [measured.variant, level_name(measured.rate_req_s), str(measured.start), str(layer)]
        figures = [str(row.size), str(row.sum()), f"{row.mean():.0f}", str(busiest), str(row[busiest])]
        yield [*names, *figures, f"{peaks[layer]:.2f} times"]
