"""The nodes of a Ray cluster: each takes one call at a time, and has all of its devices for it.

Ray is met here alone, and only with `--on ray`.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from offline.cluster.spread import PlaceLost
from probes.errors import EnginescopeError, usage_error
from probes.processes.engine import EngineFailed

RAY = "ray"
NO_CLUSTER = "--on ray finds no cluster here: `ray start --head` starts one, and RAY_ADDRESS names one elsewhere"
# A worker that ends would kill its children by itself, first of all the keepers of our engines, which know the rest.
OURS_TO_END = {"RAY_kill_child_processes_on_worker_exit": "false"}
ENDED = "the run was ended"
GRACE_S = 5.0  # for calls that are asked to end
J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class ClusterNode:
    """A node by Ray's id, with the devices that it has; `name` says no address, since it goes into a run's folder."""

    id: str
    cpus: float
    gpus: float

    @property
    def name(self) -> str:
        """`node 1a2b3c4d`, the beginning of its id."""
        return f"node {self.id[:8]}"


@dataclass
class RayCluster:
    """The nodes that are there when the run begins."""

    nodes: tuple[ClusterNode, ...]
    ray: Any  # the module
    running: list[Any] = field(default_factory=list)  # Ray's references to calls
    stopped: bool = False

    def call(self, node: ClusterNode, work: Callable[[J], R], job: J) -> R:
        """What `work(job)` returns, run on a node that is otherwise idle; `PlaceLost` where that is gone.

        `work` is a function of a module that the node has too. Its own exceptions are raised here; `EngineFailed` where
        `stop` was called.
        """
        at = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        options = {"num_cpus": node.cpus, "num_gpus": node.gpus, "max_retries": 0, "scheduling_strategy": at}
        options["runtime_env"] = {"env_vars": OURS_TO_END}
        reference = self.ray.remote(work).options(**options).remote(job)
        self.running.append(reference)
        if self.stopped:  # meanwhile
            self.ray.cancel(reference, force=True)
        try:
            result: R = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if self.stopped:
                raise EngineFailed(ENDED) from None
            if isinstance(error.cause, EnginescopeError):
                raise EnginescopeError(f"{node.name}: {error.cause}", error.cause.code) from None
            raise
        except self.ray.exceptions.OutOfMemoryError:  # the node is not lost, and the next one may have no more
            raise EnginescopeError(f"{node.name}: its memory was full, so Ray ended what it ran") from None
        except self.ray.exceptions.RayError:
            raise EngineFailed(ENDED) if self.stopped else PlaceLost from None
        finally:
            self.running.remove(reference)
        return result

    def stop(self) -> None:
        """End the calls that run, from another thread: their engines end with them.

        They are asked first, so that nothing of theirs stays on a node's disk; a call that is only beginning may not
        hear it.
        """
        self.stopped = True
        running = list(self.running)
        for force in (False, True):
            for reference in running:
                self.ray.cancel(reference, force=force)
            _, running = self.ray.wait(running, num_returns=len(running), timeout=GRACE_S) if running else ([], [])


def ray_cluster() -> RayCluster:
    """The cluster that runs here already, or that RAY_ADDRESS names."""
    import ray.util.scheduling_strategies

    ending = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS") or "auto", log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        raise usage_error(NO_CLUSTER) from None
    except RuntimeError as error:  # as where the cluster has another version of Ray or Python
        raise EnginescopeError(f"--on ray: {' '.join(str(error).split())}") from None
    signal.signal(signal.SIGTERM, ending)  # Ray's own handler aborts: nothing would be written any more
    alive = (node for node in ray.nodes() if node["Alive"])
    has = ((node["NodeID"], node["Resources"]) for node in alive)
    nodes = [ClusterNode(name, each["CPU"], each.get("GPU", 0.0)) for name, each in has if each.get("CPU")]
    if not nodes:
        raise usage_error("--on ray: no node of the cluster has a processor to give")
    return RayCluster(tuple(nodes), ray)


def asked_cluster(args: argparse.Namespace, *excluded: str) -> RayCluster | None:
    """The cluster of `--on ray`, None without it; flags that mean nothing on other machines are refused."""
    if args.on != RAY:
        return None
    for name in excluded:
        if getattr(args, name, None):
            raise usage_error(f"--{name.replace('_', '-')} and --on ray exclude each other")
    return ray_cluster()
