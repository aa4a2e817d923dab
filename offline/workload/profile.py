"""A mix profile (`mix_profile.json`): what share of the requests has which lengths, shared prefixes and sampling."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from offline.workload.items import Item
from offline.workload.lengths import Lengths
from probes.errors import EnginescopeError, usage_error
from probes.jsonform import Malformed, read_record

SCHEMA = 1
FOLDER = Path(__file__).parent / "profiles"
BUILT_IN = ("alpaca", "sharegpt", "mixture")
SAMPLING = ("temperature", "top_p", "top_k", "seed")


@dataclass(frozen=True)
class SharedPrefix:
    """`count` prefixes of `tokens` tokens each; a request of the part begins with one of them, by chance."""

    count: int
    tokens: int


@dataclass(frozen=True)
class MixPart:
    """A kind of request. The input length is that of the whole prompt, the shared prefix included."""

    name: str
    share: float  # of the requests; the shares of all parts are in proportion, whatever their sum
    input_tokens: Lengths
    output_tokens: Lengths
    shared_prefix: SharedPrefix | None = None
    sampling: dict[str, float] = field(default_factory=dict)  # {} is greedy

    def draw(self, source: np.random.Generator) -> Item:
        """One request of this part; a prompt has at least one token behind its shared prefix."""
        tokens, output = self.input_tokens.draw(source), self.output_tokens.draw(source)
        shared = self.shared_prefix
        if shared is None:
            return Item(tokens, output, sampling=self.sampling, part=self.name)
        name = f"{self.name}/{source.integers(shared.count)}"
        tokens = max(tokens, shared.tokens + 1)
        return Item(tokens, output, name, shared.tokens, self.sampling, part=self.name)


@dataclass(frozen=True)
class MixProfile:
    """Parts in proportion; `synthetic` where lengths are drawn from a distribution and not measured."""

    name: str
    synthetic: bool
    source: str
    parts: tuple[MixPart, ...]

    def __post_init__(self) -> None:
        if not self.parts or any(part.share <= 0 for part in self.parts):
            raise usage_error(f"the profile {self.name} needs parts, each with a share above 0")
        unknown = {key for part in self.parts for key in part.sampling} - {*SAMPLING}
        if unknown:
            raise usage_error(f"sampling is {', '.join(SAMPLING)}, not {', '.join(sorted(unknown))}")

    def draw(self, seed: int) -> Iterator[Item]:
        """Requests without end, the same for the same seed."""
        source = np.random.default_rng(seed)
        shares = np.array([part.share for part in self.parts])
        while True:
            yield self.parts[source.choice(len(self.parts), p=shares / shares.sum())].draw(source)


def read_profile(name: str | Path) -> MixProfile:
    """A built-in profile by its name, or one from a file; what is wrong with it is one line."""
    path = FOLDER / f"{name}.json" if name in BUILT_IN else Path(name)
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        schema = values.pop("schema", None)
        if schema == SCHEMA:
            return read_record(MixProfile, values)
    except OSError as error:
        raise usage_error(f"cannot read the profile {path}: {error.strerror}") from None
    except (Malformed, ValueError, AttributeError, TypeError) as error:
        raise usage_error(f"{path} is not a mix profile: {error}") from None
    raise EnginescopeError(f"{path} has schema {schema}, this version reads {SCHEMA}")
