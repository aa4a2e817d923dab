"""The digest of a definition: the same however it is laid out and explained, another where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracing.source.definitions import Place, read_definitions
from tracing.source.shape import digest, unnamed

TILL = '''class Till:
    def ring(self, items, tax=0.19):
        """Rings."""
        total = self.sum(items, tax)  # all of them
        if total > 0:
            self.drawer["coins"] = total
        return total
'''


def ring(source: str, folder: Path) -> Place:
    path = folder / "till.py"
    path.write_text(source)
    definitions = read_definitions(path, "vllm/till.py")
    assert isinstance(definitions, dict)
    return definitions["Till.ring"]


def digested(source: str, folder: Path) -> str:
    return digest(ring(source, folder))


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("  # all of them", ""),
        ('"""Rings."""', '"""Rings\n        twice."""'),
        ('        """Rings."""\n', ""),
        ('["coins"]', "['coins']"),
        ("self.sum(items, tax)", "self.sum(\n            items,\n            tax,\n        )"),
        ("class Till:\n", "import os\n\n\nclass Till:\n    size = 3\n\n"),
        ("return total", "return (total)"),
    ],
)
def test_layout_and_explanation_are_no_part_of_it(words: str, others: str, tmp_path: Path) -> None:
    assert words in TILL
    assert digested(TILL.replace(words, others), tmp_path) == digested(TILL, tmp_path)


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("tax=0.19", "tax=0.16"),
        ("total > 0", "total >= 0"),
        ("total > 0", "0 < total"),
        ("items, tax)  #", "tax, items)  #"),
        ('"coins"', '"notes"'),
        ('"coins"', 'b"coins"'),
        ("0.19", "'0.19'"),
        ("    def ring", "    @cached\n    def ring"),
        ("    def ring", "    async def ring"),
        ("            self.drawer", "            pass\n        self.drawer"),
        ("return total", "yield total"),
    ],
)
def test_what_it_says_is(words: str, others: str, tmp_path: Path) -> None:
    assert words in TILL
    assert digested(TILL.replace(words, others), tmp_path) != digested(TILL, tmp_path)


def test_it_is_the_same_on_every_machine_and_python(tmp_path: Path) -> None:
    """A committed digest is compared with one that another version of Python takes."""
    assert digested(TILL, tmp_path) == "196ba7a089103363"


SORTING = """class Till:
    def ring(self, items):
        notes, coins = [], []
        for item in items:
            (coins if item < 5 else notes).append(item)
        return self.drawer(notes, coins)
"""


@pytest.mark.parametrize(
    ("words", "others", "same"),
    [
        ("notes", "paper", True),
        ("item ", "each ", False),  # the other `item` is one of outside then
        ("items", "things", False),  # a parameter is for callers
        ("(notes, coins)", "(coins, notes)", False),
        ("notes, coins =", "coins, notes =", False),
        ("self.drawer", "self.box", False),
        ("        notes,", "        global notes\n        notes,", False),
    ],
)
def test_without_their_names_locals_are_the_same(words: str, others: str, same: bool, tmp_path: Path) -> None:
    assert words in SORTING
    other = SORTING.replace(words, others)
    assert digested(other, tmp_path) != digested(SORTING, tmp_path)
    assert (unnamed(ring(other, tmp_path)) == unnamed(ring(SORTING, tmp_path))) is same
