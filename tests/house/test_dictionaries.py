"""Every record whose fields are columns of a written table is explained in the README of the room that writes it.

`python -c "from probes.columns import markdown; from MODULE import RECORD; print(markdown(RECORD))"` prints its table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module

import pytest

from probes.columns import KEY, markdown
from tests.house.test_layout import MODULES, ROOT

IMPORT = re.compile(r"^from probes\.columns import .*\bcolumn\b", re.M)
WITH_COLUMNS = [name for name in MODULES if IMPORT.search((ROOT / name).read_text())]
# In a sweep's `records.jsonl`.
WRITTEN_ELSEWHERE = {
    "tracing/breakdown/requests/windowtimes.py": "offline",
    "tracing/events/enginephase.py": "offline",
}


def records(module: str) -> Iterator[type]:
    """The classes of a file of the repository that have a column."""
    name = module.removesuffix(".py").replace("/", ".")
    own = [each for each in vars(import_module(name)).values() if getattr(each, "__module__", "") == name]
    for each in filter(is_dataclass, own):
        if any(KEY in field.metadata for field in fields(each)):
            yield each


@pytest.mark.parametrize("module", WITH_COLUMNS)
def test_every_column_is_in_the_rooms_readme(module: str) -> None:
    room = WRITTEN_ELSEWHERE.get(module, module.partition("/")[0])
    readme, classes = (ROOT / room / "README.md").read_text(), list(records(module))
    assert classes and [each.__name__ for each in classes if markdown(each) not in readme] == []
