"""A site: one function of the engine that can be hooked, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["front end", "core input", "core", "core output", "worker", "coordinator", "server parent"]
Kind = Literal["function", "coroutine", "async generator", "static", "model"]
Share = Literal["work", "wait", "loop", "frame"]

ENCLOSING: tuple[Share, ...] = ("loop", "frame")
# Of sites; the others are of whole processes.
ROLES: tuple[Role, ...] = ("front end", "core input", "core", "core output", "worker")


def place_of(role: str) -> int:
    """Where a role stands in the order in which a request meets them; any other comes after all."""
    return ROLES.index(role) if role in ROLES else len(ROLES)


@dataclass(frozen=True)
class Site:
    """One place of the engine that can be hooked.

    `targets` are `module:Class.method`, all of which are there where a site is `required`: those of both model runners,
    and of each executor. Of one that is not, any may be absent: its name moved, or what it is of is not built.
    `share` says what its time counts as: `work` and `wait` explain a request's time, a `frame` only encloses others,
    and so does a `loop`, but what it does between them is Python that waits for nothing: its own time. `numbers` names
    what a span's `value` and `extra` are. `also` are targets that are hooked where they are, but do not make the site
    fit: other libraries', or of executors that a version may lack.
    """

    name: str
    stage: str
    role: Role
    targets: tuple[str, ...]
    kind: Kind = "function"
    share: Share = "work"
    required: bool = True
    numbers: tuple[str, str] = ("", "")
    also: tuple[str, ...] = ()
