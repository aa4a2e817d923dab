"""Flags that several commands of this room have: the model that they run, and where their runs go."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_model(group: argparse._ActionsContainer) -> None:
    """`--model` and `--load-format`."""
    group.add_argument("--model", metavar="M", help="a local folder or a hub id (default: the embedded default model)")
    group.add_argument("--load-format", metavar="F", help="vLLM's load format; `dummy` makes random weights")


def add_out(group: argparse._ActionsContainer) -> None:
    """`--out`, a folder of runs."""
    where = "where runs go (default results)"
    group.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help=where)


def add_on(group: argparse._ActionsContainer) -> None:
    """`--on`: None where all runs on this machine."""
    where = "`ray`: starts spread over the nodes of a Ray cluster, an engine at a time on a node's devices"
    group.add_argument("--on", choices=("ray",), default=None, help=where)


def add_resume(group: argparse._ActionsContainer) -> None:
    """`--resume`: None without it, empty for the last unfinished run."""
    which = "continue a run (default: the last unfinished one)"
    group.add_argument("--resume", nargs="?", const="", default=None, metavar="RUN", help=which)
