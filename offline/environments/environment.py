"""An environment that engines run in, and what is installed there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracing.source.tree import DISTRIBUTIONS

SHOWN = ("python", "vllm", "torch", "transformers")  # always, whether environments differ in them or not
OWN = "enginescope"


@dataclass(frozen=True)
class Environment:
    """An interpreter with vLLM; `folder`, where it is named, holds the `vllm` package that stands before its own."""

    python: str  # its executable; the home is written as `~`, as in the other paths
    source: str  # the folder of the `vllm` package that it imports
    vllm: str  # that package's version
    versions: dict[str, str]  # of all its distributions by normalized name, and of `python`
    folder: str = ""

    @property
    def executable(self) -> Path:
        """Its interpreter, as it is started."""
        return Path(self.python).expanduser()

    @property
    def first_folder(self) -> str:
        """`folder` as a path that Python understands."""
        return str(Path(self.folder).expanduser()) if self.folder else ""

    def version(self, name: str) -> str:
        """The version of a package or of `python`; empty where it is not there."""
        return self.vllm if name == "vllm" else self.versions.get(name, "")


def normalized(name: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def differing_packages(environments: Sequence[Environment]) -> list[str]:
    """The packages that all environments have and whose versions differ, `python` among them, without vLLM and our own.

    What only some have is left out: tools of the environment that a sweep runs in, as a rule.
    """
    shared = set.intersection(*(set(each.versions) for each in environments)) - {*DISTRIBUTIONS, OWN}
    return [name for name in sorted(shared) if len({each.version(name) for each in environments}) > 1]


def fact_rows(environments: Mapping[str, Environment]) -> dict[str, list[str]]:
    """A row a package: the fingerprint, then every other package that differs; a value an environment."""
    every = list(environments.values())
    names = dict.fromkeys([*SHOWN, *differing_packages(every)])
    return {name: [each.version(name) or "-" for each in every] for name in names}


def differing_sentences(environments: Mapping[str, Environment]) -> list[str]:
    """`Beside vLLM the environments 0.31.0 and 0.32.0 differ in transformers (5.17.0, 5.19.0).`, or in no package."""
    if len(environments) < 2:
        return []
    every = list(environments.values())
    names = differing_packages(every)
    words = ", ".join(f"{name} ({', '.join(each.version(name) for each in every)})" for name in names)
    return [f"Beside vLLM the environments {' and '.join(environments)} differ in {words or 'no package'}."]
