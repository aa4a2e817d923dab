"""Which CUDA graph a batch runs in, as the model runner had it from vLLM's dispatcher.

The runner has one answer a step, on which all data-parallel ranks agree: Model Runner V1 out of a function of its own,
V2 before it prepares its inputs, to which it hands the answer.
"""

from __future__ import annotations

from typing import Any

Padded = tuple[int, str | int]  # tokens, those of padding included, and the mode's name: FULL, PIECEWISE or NONE

NOT_TOLD: Padded = (0, 0)
DESCRIPTION = 3  # behind the runner, the scheduler's output and the requests


def dispatched(result: Any, *_: Any) -> Padded:
    """Of Model Runner V1: the mode, the batch's description, and more."""
    try:
        return result[1].num_tokens, result[0].name
    except (AttributeError, LookupError, TypeError):  # a version that answers otherwise
        return NOT_TOLD


def prepared(_: Any, *args: Any) -> Padded:
    """Of Model Runner V2: the batch's description is the third that its inputs are prepared from; V1 has none there."""
    try:
        return args[DESCRIPTION].num_tokens, args[DESCRIPTION].cg_mode.name
    except (AttributeError, LookupError):
        return NOT_TOLD
