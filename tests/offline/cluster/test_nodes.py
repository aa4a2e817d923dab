"""What becomes of a call that does not come back from its node, by what Ray says; a stand-in for Ray."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest

from offline.cluster.nodes import ClusterNode, RayCluster, ray_cluster
from offline.cluster.spread import PlaceLost
from probes.errors import EnginescopeError

NODE = ClusterNode("1a2b3c4d5e", 2.0, 0.0)


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class NodeDiedError(RayError):
    pass


class OutOfMemoryError(RayError):
    pass


def a_cluster(error: Exception) -> RayCluster:
    """One node, of which every call ends with this error."""

    def get(reference: object) -> NoReturn:
        raise error

    call: Any = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda job: job))
    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, OutOfMemoryError=OutOfMemoryError)
    util = SimpleNamespace(scheduling_strategies=strategies)
    return RayCluster((NODE,), SimpleNamespace(remote=lambda work: call, get=get, exceptions=exceptions, util=util))


def test_a_node_that_died_is_lost() -> None:
    with pytest.raises(PlaceLost):
        a_cluster(NodeDiedError()).call(NODE, str, 1)


def test_a_node_whose_memory_was_full_is_not_lost() -> None:
    """Else the next node would have the same start, and be lost in its turn."""
    cluster = a_cluster(OutOfMemoryError())
    with pytest.raises(EnginescopeError, match="node 1a2b3c4d: its memory was full"):
        cluster.call(NODE, str, 1)
    assert cluster.running == []


def test_a_cluster_of_another_version_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> NoReturn:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0")

    for name in ("ray", "ray.util", "ray.util.scheduling_strategies"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["ray"], "init", init, raising=False)
    with pytest.raises(EnginescopeError, match=r"^--on ray: Version mismatch: .* started with: Ray: 2\.9\.0$"):
        ray_cluster()
