"""What a node has to have for a run, and what it has otherwise than the machine that the run is described by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from offline.cluster.nodes import ClusterNode
from offline.spec.model import ModelMark
from probes.engineplatform import engine_platform
from probes.errors import EnginescopeError
from probes.machine import Machine, differences, fingerprint

M = TypeVar("M")


class Described(Protocol):
    """The record of a run, or what a node says of itself."""

    @property
    def machine(self) -> Machine:
        """Where it is measured."""
        ...

    @property
    def model_mark(self) -> ModelMark:
        """Which model's files."""
        ...


@dataclass(frozen=True)
class NodeConditions:
    """A node as it is when a start has ended there."""

    machine: Machine
    model_mark: ModelMark


def conditions_here(model_mark: ModelMark) -> NodeConditions:
    """Those of the node that this runs on."""
    return NodeConditions(fingerprint(engine_platform()), model_mark)


def models_here(recorded: Callable[[str], M], places: str) -> M:
    """A run's model or models on this node, as `recorded` finds them."""
    try:
        return recorded(places)
    except FileNotFoundError as error:
        raise EnginescopeError(f"its model {error} is not there; it has to be, under one path on all nodes") from None


def unlike(node: ClusterNode, run: Described, there: Described) -> list[str]:
    """How a node differs from the machine that the run is described by, a sentence each; every node has its own id."""
    machine = run.machine
    differing = differences(machine.as_dict(), {**there.machine.as_dict(), "machine_id": machine.machine_id})
    differing += [] if there.model_mark == run.model_mark else ["model: not the same files"]
    return [f"{node.name} differs in {each} (here and there)" for each in differing]
