"""The digest of a definition: the same however it is laid out and explained, another where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracing.source.definitions import read_definitions
from tracing.source.shape import digest

TILL = '''class Till:
    def ring(self, items, tax=0.19):
        """Rings."""
        total = self.sum(items, tax)  # all of them
        if total > 0:
            self.drawer["coins"] = total
        return total
'''


def digested(source: str, folder: Path) -> str:
    path = folder / "till.py"
    path.write_text(source)
    definitions = read_definitions(path, "vllm/till.py")
    assert isinstance(definitions, dict)
    return digest(definitions["Till.ring"])


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
