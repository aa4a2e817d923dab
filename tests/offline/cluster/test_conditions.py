"""What a node lacks for a run, and how it differs from the machine that the run is described by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offline.cluster.conditions import NodeConditions, models_here, unlike
from offline.cluster.nodes import ClusterNode
from offline.spec.model import ModelMark
from offline.spec.models import recorded_model, recorded_models
from probes.errors import EnginescopeError
from probes.machine import fingerprint

NODE = ClusterNode("1a2b3c4d5e", 2.0, 0.0)
HERE = NodeConditions(replace(fingerprint(), machine_id="a", cores_usable=4), ModelMark(None, "ab", {"w": 1}))


def test_another_id_is_no_difference_and_others_are_named() -> None:
    there = replace(HERE.machine, machine_id="b")
    assert unlike(NODE, HERE, replace(HERE, machine=there)) == []
    other = NodeConditions(replace(there, cores_usable=1), ModelMark(None, "cd", {"w": 1}))
    assert unlike(NODE, HERE, other) == [
        "node 1a2b3c4d differs in cores_usable: 4 and 1 (here and there)",
        "node 1a2b3c4d differs in model: not the same files (here and there)",
    ]


@pytest.mark.parametrize("recorded", [recorded_model, recorded_models])
def test_a_model_that_a_node_lacks_is_named(recorded: Callable[[str], object], tmp_path: Path) -> None:
    with pytest.raises(EnginescopeError, match=f"its model {tmp_path} is not there"):
        models_here(recorded, str(tmp_path))
