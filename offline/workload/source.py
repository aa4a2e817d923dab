"""Where requests are drawn from: a mix profile, or a list of items, which has a file of its own."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from offline.records.runfolder import write_whole
from offline.workload.items import Item
from offline.workload.profile import MixProfile
from probes.errors import EnginescopeError, usage_error
from probes.jsonform import read_record

SCHEMA = 1
HEAD = "workload"  # the key by which a file of items is known


@dataclass(frozen=True)
class WorkloadSource:
    """A workload: items to draw from, or a profile to draw them by. `tokenizer` is the digest of what made its ids.

    `remarks` say what of a file of prompts was left out or assumed, a sentence each.
    """

    name: str
    synthetic: bool
    origin: str
    profile: MixProfile | None = None
    items: tuple[Item, ...] = ()
    tokenizer: str | None = None
    remarks: tuple[str, ...] = ()

    def draw(self, seed: int) -> Iterator[Item]:
        """Items without end, the same for the same seed: each in turn, in a new order every time they are through."""
        if self.profile is not None:
            yield from self.profile.draw(seed)
        for turn in itertools.count():
            order = list(self.items)
            random.Random(f"{seed}/{turn}").shuffle(order)
            yield from order

    @property
    def recording(self) -> list[Item]:
        """The items whose arrivals were recorded, in the order in which they came."""
        return sorted((item for item in self.items if item.at_s is not None), key=lambda item: item.at_s or 0.0)

    @property
    def arrivals_s(self) -> list[float]:
        """The recorded arrivals, in order; none where they were not recorded."""
        return arrivals_s(self.recording)

    def __str__(self) -> str:
        return f"{self.name} ({'synthetic: ' if self.synthetic else ''}{self.origin})"


def arrivals_s(items: Iterable[Item]) -> list[float]:
    """The recorded arrivals of items."""
    return [item.at_s for item in items if item.at_s is not None]


def write_items(path: Path, source: WorkloadSource) -> None:
    """Write a file of items whole."""
    head = {HEAD: source.name, "schema": SCHEMA, "synthetic": source.synthetic, "origin": source.origin}
    lines = [json.dumps({**head, "tokenizer": source.tokenizer, "remarks": source.remarks})]
    lines += [json.dumps(asdict(item), separators=(",", ":")) for item in source.items]
    write_whole(path, "\n".join(lines) + "\n")


def read_items(path: Path) -> WorkloadSource:
    """A file of items; one clear line says what is wrong with another."""
    try:
        head, *lines = (json.loads(line) for line in path.read_text().splitlines())
        if not isinstance(head, dict) or HEAD not in head:
            raise usage_error(f"{path} is no file of items: it has no head")
        if head["schema"] != SCHEMA:
            raise EnginescopeError(f"{path} has schema {head['schema']}, this version reads {SCHEMA}")
        items = tuple(read_record(Item, line) for line in lines)
        known = {name: head[name] for name in ("synthetic", "origin", "tokenizer")}
        source = WorkloadSource(head[HEAD], items=items, remarks=tuple(head.get("remarks", ())), **known)
    except OSError as error:
        raise usage_error(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise usage_error(f"{path} is not a whole workload: {error}") from None
    if not items:
        raise usage_error(f"{path} holds no item")
    return source
