"""A variant: what is put under load, by name; the built-in ones of a platform, and those of a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from offline.spec.settings import EngineSettings
from offline.spec.spec import nearest
from probes.errors import usage_error

VLLM, TORCH, SERVER = "vllm", "torch", "server"
SPLIT = "split"  # what runs a variant of kind `vllm` with `split = true`
KINDS = (VLLM, TORCH)
KEYS = ("base", "kind", "serve", "split", "settings")


@dataclass(frozen=True)
class Variant:
    """`settings` are vLLM's engine arguments, or the baseline's own; what all variants share is added for the run."""

    name: str
    kind: str = VLLM
    settings: EngineSettings = field(default_factory=dict)
    serve: bool = False  # as an OpenAI server that the command starts, in place of AsyncLLM
    split: bool = False  # as two AsyncLLM: one computes a request's prompt, the other generates

    @property
    def form(self) -> str:
        """What it is started as: its kind, but split."""
        return SPLIT if self.split else self.kind


def engine_count(form: str) -> int:
    """How many engines a start of a variant of this form has."""
    return 2 if form == SPLIT else 1


def read_variants(path: Path, known: Mapping[str, Variant]) -> dict[str, Variant]:
    """The variants of a TOML file; one may build on a known one, or on one above it in the file, by `base`.

    | in the file                                    | is                                             |
    | ---------------------------------------------- | ---------------------------------------------- |
    | `[eager-64]`, `settings = {max_num_seqs = 64}` | an AsyncLLM with that argument                 |
    | `[small]`, `base = "vllm-page"`, `settings = …` | `vllm-page` with some arguments more or other |
    | `[small-server]`, `base = "small"`, `serve = true` | the same behind vLLM's own server          |
    | `[two]`, `base = "small"`, `split = true`    | an engine for prompts and one that generates  |
    | `[pytorch]`, `kind = "torch"`                  | the baseline on plain PyTorch                  |
    """
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise usage_error(f"cannot read the variants {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise usage_error(f"{path} is not TOML: {error}") from None
    variants: dict[str, Variant] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise usage_error(f"{path}: {name} must be a table of {', '.join(KEYS)}, not {table!r}")
        variants[name] = _variant(f"{path}, [{name}]", name, table, {**known, **variants})
    return variants


def _variant(place: str, name: str, table: Mapping[str, object], known: Mapping[str, Variant]) -> Variant:
    for key in table:
        if key not in KEYS:
            raise usage_error(f"{place}: unknown key {key!r}{nearest(key, KEYS)}")
    base = table.get("base")
    if base is not None and (not isinstance(base, str) or base not in known):
        raise usage_error(f"{place}: no variant {base!r} to build on{nearest(str(base), known)}")
    settings, serve, split = table.get("settings", {}), table.get("serve", False), table.get("split", False)
    if not isinstance(settings, dict) or not isinstance(serve, bool) or not isinstance(split, bool):
        raise usage_error(f"{place}: settings is a table, serve and split are true or false")
    start = known[base] if base is not None else Variant(name)
    kind = table.get("kind", start.kind)
    serve, split = serve or start.serve, split or start.split
    if kind not in KINDS or (kind != VLLM and (serve or split)) or (serve and split):
        raise usage_error(f"{place}: kind is {' or '.join(KINDS)}, and only {VLLM} has serve = true or split = true")
    return replace(start, name=name, kind=kind, settings={**start.settings, **settings}, serve=serve, split=split)


def chosen(names: tuple[str, ...], known: Mapping[str, Variant], lacking: Mapping[str, str]) -> list[Variant]:
    """The variants of a command line; `all` is every known one. What the platform lacks is refused by name."""
    variants = []
    for name in known if names == ("all",) else names:
        if name in lacking:
            raise usage_error(f"the variant {name} cannot run here: {lacking[name]}")
        if name not in known:
            raise usage_error(f"no variant {name!r}{nearest(name, [*known, *lacking])}; known are {', '.join(known)}")
        variants.append(known[name])
    if len({variant.name for variant in variants}) != len(variants):
        raise usage_error(f"--variants names one twice: {', '.join(names)}")
    return variants


def alike(settings: EngineSettings) -> list[tuple[str, str]]:
    """The pairs of names whose values are equal, by the earlier name: variants asked for, or resolved, as one."""
    return [(one, other) for one, other in combinations(settings, 2) if settings[one] == settings[other]]
