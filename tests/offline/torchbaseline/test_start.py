"""The baseline from a variant's settings: what it does not know is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from probes.errors import EnginescopeError
from tests.needs import needs_torch, needs_transformers

pytestmark = [needs_torch, needs_transformers, pytest.mark.slow(20)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_num_seqs": 4}, "the torch baseline has no setting max_num_seqs; it has model, dtype, batching"),
        ({"batching": "dynamic"}, "batching is one of static, continuous, not dynamic"),
    ],
)
def test_an_unknown_setting_is_refused_by_name(settings: dict[str, Any], words: str) -> None:
    from offline.torchbaseline.start import start_serving

    with pytest.raises(EnginescopeError, match=words):
        start_serving(settings)
