"""What a hub says of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class HubModel:
    """What a hub says of a model: the bytes of its files, its config.json and its index; `why` where it says less."""

    state: Literal["there", "gated", "unknown", "not asked"]
    why: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
