"""Rows by the request that they name, for one request or for many at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracing.timeline.intervals import expanded
from tracing.timeline.lookups.rows import Rows


class NamedRows(NamedTuple):
    """Rows by the number of the request that they name; `edges` has where in `rows` those of each number begin, and
    where the last end. Negative numbers are no request's: they have none."""

    rows: Rows
    edges: Rows

    def where(self, number: int) -> slice:
        """Where the rows of a request are."""
        return slice(self.edges[number], self.edges[number + 1])

    def places(self, numbers: Rows) -> tuple[Rows, Rows]:
        """Where the rows of each of some requests are: the place of the request among them, and of the row."""
        return expanded(self.edges[numbers], self.edges[numbers + 1])

    def under(self, numbers: Rows) -> tuple[Rows, Rows]:
        """The rows of each of some requests: the place of the request among them, and the row."""
        which, place = self.places(numbers)
        return which, self.rows[place]

    def first(self, numbers: Rows) -> Rows:
        """The first row of each of some requests; -1 where it has none."""
        begin, end = self.edges[numbers], self.edges[numbers + 1]
        return np.where(begin < end, np.append(self.rows, -1)[begin], -1)


def named_rows(rows: Rows, numbers: npt.NDArray[np.integer], requests: int) -> NamedRows:
    """Some rows by the numbers of their requests, of which there are so many; -1 is none."""
    order = np.argsort(numbers, kind="stable")
    return NamedRows(rows[order], np.searchsorted(numbers[order], np.arange(requests + 2)))
