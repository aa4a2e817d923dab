"""What a sweep was asked to do: a frozen `Spec` from flags and a TOML file, refused where it cannot be run."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from offline.spec.settings import EngineAxes, SpecValues
from probes.errors import usage_error

CACHING = {"off": False, "on": True}
STATES = ("cold", "warm")
SIZES = {"batch_size": 1, "block_size": 1, "input_len": 1, "output_len": 1, "shared_prefix_len": 0}  # with their least
COUNTS = ("repeats", "starts")
AXES = (*SIZES, "prefix_caching", "cache_state", "temperature", "vllm")
# Engine arguments that the sweep itself sets: asking for them through --engine would say two things at once.
OWNED = {
    "model": "--model",
    "block_size": "--block-size",
    "enable_prefix_caching": "--prefix-caching",
    "disable_log_stats": "the sweep itself: log stats are on in every arm, so that requests carry their times",
    "load_format": "--load-format",
    "vllm": "--vllm",
}


@dataclass(frozen=True)
class Spec:
    """One sweep, as asked. `engine` maps an engine argument to its values: one is a constant, several are an axis.

    Sizes and lengths that were not asked for are empty, repeats and starts are 0: the plan chooses them.
    """

    model: str = ""  # several with commas between them
    cards: tuple[int, ...] = ()  # of each model: the workers that share its layers
    load_format: str = "auto"
    batch_size: tuple[int, ...] = ()
    block_size: tuple[int, ...] = ()
    prefix_caching: tuple[str, ...] = ("off", "on")
    cache_state: tuple[str, ...] = STATES
    input_len: tuple[int, ...] = ()
    output_len: tuple[int, ...] = ()
    shared_prefix_len: tuple[int, ...] = ()
    temperature: tuple[float, ...] = (0.0,)  # of sampling; 0 is greedy
    repeats: int = 0
    starts: int = 0
    seed: int = 0
    trace: bool = False  # one more trial of each cell in each start, untimed, under the recorder
    engine: EngineAxes = field(default_factory=dict)
    vllm: tuple[str, ...] = ()  # environments: as words of the command line, then, once they are found, their labels

    def as_dict(self) -> SpecValues:
        """The spec as JSON holds it, and as `from_dict` reads it back."""
        values: SpecValues = json.loads(json.dumps(asdict(self)))
        return {name: value for name, value in values.items() if value or name not in COUNTS}

    @staticmethod
    def from_dict(values: SpecValues) -> Spec:
        """A spec from plain values; unknown keys, wrong types and impossible values are refused (exit code 2)."""
        known = {f.name: f for f in fields(Spec)}
        for name in values:
            if name not in known:
                raise usage_error(f"unknown key {name!r} in the spec{nearest(name, known)}")
        return _checked(replace(Spec(), **{name: _typed(name, value) for name, value in values.items()}))


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the known name closest to a wrong one, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _typed(name: str, value: Any) -> Any:  # of the type of that field
    default = getattr(Spec(), name)
    if name == "engine":
        if not isinstance(value, dict):
            raise usage_error(f"[engine] must be a table of engine arguments, not {value!r}")
        return {key: list(v) if isinstance(v, (list, tuple)) else [v] for key, v in value.items()}
    if isinstance(default, tuple):
        return tuple(_element(name, v) for v in (value if isinstance(value, (list, tuple)) else [value]))
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise usage_error(f"{name} must be true or false, not {value!r}")
        return value
    if isinstance(default, int) and (isinstance(value, bool) or not isinstance(value, int)):
        raise usage_error(f"{name} must be a whole number, not {value!r}")
    if name in COUNTS and value < 1:
        raise usage_error(f"{name} must be 1 or more, not {value}")
    if isinstance(default, str) and not isinstance(value, str):
        raise usage_error(f"{name} must be text, not {value!r}")
    return value


def _element(name: str, value: object) -> object:
    if name in SIZES or name == "cards":
        if isinstance(value, bool) or not isinstance(value, int):
            raise usage_error(f"{name} takes whole numbers, not {value!r}")
        return value
    if name == "temperature":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise usage_error(f"temperature takes numbers, 0 or more, not {value!r}")
        return float(value)
    if name == "prefix_caching" and isinstance(value, bool):
        return "on" if value else "off"
    return value


def _checked(spec: Spec) -> Spec:
    for name, least in SIZES.items():
        if any(v < least for v in getattr(spec, name)):
            raise usage_error(f"{name} must be {least} or more, not {min(getattr(spec, name))}")
    for name, allowed in (("prefix_caching", tuple(CACHING)), ("cache_state", STATES)):
        for value in getattr(spec, name):
            if value not in allowed:
                raise usage_error(f"{name} is one of {', '.join(allowed)}, not {value!r}")
    if spec.cards and min(spec.cards) < 1:
        raise usage_error(f"cards must be 1 or more, not {min(spec.cards)}")
    if spec.cards and "tensor_parallel_size" in spec.engine:
        raise usage_error("--engine tensor_parallel_size and --cards say the same: name one of them")
    for key in spec.engine:
        if key in OWNED:
            raise usage_error(f"--engine {key} is set by {OWNED[key]}")
    axes = {name: list(getattr(spec, name)) for name in AXES}
    for name, values in (axes | spec.engine).items():
        words = [json.dumps(value, sort_keys=True, default=str) for value in values]
        if len(set(words)) != len(words):
            raise usage_error(f"{name} names a value twice: {', '.join(map(str, values))}")
        if not values and name not in (*SIZES, "vllm"):  # those then have the machine's defaults
            raise usage_error(f"{name} names no value")
    return spec


def read_toml(path: str) -> SpecValues:
    """The keys of a spec file."""
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise usage_error(f"cannot read the spec {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise usage_error(f"{path} is not TOML: {error}") from error


def parse_engine(words: list[str]) -> EngineAxes:
    """`KEY=V1,V2` words as engine arguments; a value that starts with `{` or `[` is one JSON value."""
    engine: EngineAxes = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key or not text:
            raise usage_error(f"--engine takes KEY=VALUE[,VALUE…], not {word!r}")
        if key in engine:
            raise usage_error(f"--engine names {key} twice; write --engine {key}=V1,V2 for an axis")
        engine[key] = _engine_values(key, text)
    return engine


def _engine_values(key: str, text: str) -> list[Any]:  # of the argument's type
    if text[0] not in "{[":
        return text.split(",")
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as error:
        raise usage_error(f"--engine {key}: not JSON: {error}") from error


def integers(text: str) -> list[int]:
    """argparse type: `1,4,8` as numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between them, not {text!r}") from None


def numbers(text: str) -> list[float]:
    """argparse type: `0,0.8` as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers with commas between them, not {text!r}") from None


def words(text: str) -> list[str]:
    """argparse type: `off,on` as words."""
    return [part.strip() for part in text.split(",")]
