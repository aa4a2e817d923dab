"""Names for what is compared: axes that vary, their levels, and the cell where a difference was taken."""

from __future__ import annotations

from collections.abc import Sequence

from offline.differences.observations import Levels


def varied(items: Sequence[Levels]) -> list[str]:
    """The axes in which arms or cells differ."""
    return [axis for axis in items[0] if len({str(item[axis]) for item in items}) > 1]


def levels(axis: str, items: Sequence[Levels]) -> list[object]:
    """The levels of an axis, in the order of the items."""
    return list(dict.fromkeys(item[axis] for item in items))


def joined_levels(item: Levels, axes: Sequence[str]) -> str:
    """`32+off`: the levels of an item on some axes."""
    return "+".join(str(item[axis]) for axis in axes)


def shared_label(items: Sequence[Levels], everything: Sequence[Levels]) -> str:
    """`batch_size=4 cache_state=cold`: what items share of the axes that vary in everything; `all` for nothing."""
    shared = [axis for axis in varied(everything) if len({str(item[axis]) for item in items}) == 1]
    return " ".join(f"{axis}={items[0][axis]}" for axis in shared) or "all"
