"""What a hub says of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# A file of a model's, as its config.json or the index of its weights: what it holds is for who uses it to check.
ModelFile = Mapping[str, Any]


@dataclass(frozen=True)
class HubModel:
    """What a hub says of a model: the bytes of its files, its config.json and its index; `why` where it says less."""

    state: Literal["there", "gated", "unknown", "not asked"]
    why: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    config: ModelFile = field(default_factory=dict)
    index: ModelFile = field(default_factory=dict)
