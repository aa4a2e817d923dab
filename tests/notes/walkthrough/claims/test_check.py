"""`notes.check` on a small vLLM: what it says and returns for stops that hold, are false, gone, or to re-read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracing.source.test_source import write_tree

ROOT = Path(__file__).resolve().parents[4]
CHAPTER = """+++
title = "A shop"
summary = "s"
+++

```stop
name = "sell"
anchor = "vllm.shop:Shop.sell"
fragment = "self.pack(item)"
claims = '''
before self.note(item)
default price = 3
has self.size = 9 in vllm.shop:Shop.open
'''
```

It packs.
"""
SHOP = """class Shop:
    def sell(self, item, price=3):
        '''Sells.'''
        self.pack(item)
        self.note(item)

    def open(self):
        self.size = 9
"""
NOTHING = [
    ("self.pack(item)", "self.pack( item )  # well"),
    ("'''Sells.'''", "'''Sells one.'''"),
    ("    def open", "\n\n    # the door\n    def open"),
]
AGAIN = [
    ("self.note(item)", "self.note(item)\n        self.rest()"),
    ("item", "thing"),
    ("self.size = 9", "self.size = 9; self.lock()"),
    ("price=3", "price=3, tip=0"),
]
FALSE = [
    ("price=3", "price=4", "default price = 3: it is 4"),
    (
        "self.pack(item)\n        self.note(item)",
        "self.note(item)\n        self.pack(item)",
        "the other runs before it",
    ),
    ("self.pack(item)", "if False: self.pack(item)", "the line is there and can never run"),
    ("self.size = 9", "self.size = 9000", "that is not there, or can never run"),
]
GONE = [("self.pack(item)", "self.unpack(item)"), ("def sell", "def sells")]


def shop(folder: Path, version: str, source: str = SHOP) -> str:
    files = {"shop.py": source, "_version.py": f"__version__ = {version!r}\n"}
    return str(write_tree(folder / version, files))  # type: ignore[arg-type]


def check(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "notes").mkdir(exist_ok=True)
    (folder / "notes" / "01-shop.md").write_text(CHAPTER)
    return subprocess.run(
        [sys.executable, "-m", "notes.check", "--notes", str(folder / "notes"), *words],
        cwd=ROOT,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def after(folder: Path, words: str, others: str) -> subprocess.CompletedProcess[str]:
    """The check of a new version, once the old one has been read."""
    assert words in SHOP
    read = check(folder, "--vllm", shop(folder, "1.0"), "--reread")
    assert read.returncode == 0, read.stderr
    return check(folder, "--vllm", shop(folder, "2.0", SHOP.replace(words, others)), "--base", str(folder / "1.0"))


@pytest.mark.parametrize(("words", "others"), NOTHING)
def test_layout_comments_and_docstrings_raise_nothing(tmp_path: Path, words: str, others: str) -> None:
    done = after(tmp_path, words, others)
    assert (done.returncode, done.stdout) == (
        0,
        "1 stops, 3 claims, 0 edges against vLLM 2.0: 1 hold, nothing to fix\n",
    )


@pytest.mark.parametrize(("words", "others"), AGAIN)
def test_a_function_that_says_more_is_to_be_read_again_with_its_diff(tmp_path: Path, words: str, others: str) -> None:
    done = after(tmp_path, words, others)
    assert done.returncode == 0
    assert done.stdout.startswith("re-read  01-shop.md:6  sell\n  read again: vllm.shop:Shop.")
    assert "\n    @@" in done.stdout and "in vLLM 1.0\n" in done.stdout
    assert done.stdout.endswith("against vLLM 2.0: 1 to re-read, nothing to fix\n")


@pytest.mark.parametrize(("words", "others", "reason"), FALSE)
def test_a_claim_that_is_not_true_any_more_fails(tmp_path: Path, words: str, others: str, reason: str) -> None:
    done = after(tmp_path, words, others)
    assert done.returncode == 1 and done.stdout.startswith("false  01-shop.md:6  sell\n")
    assert reason in done.stdout and done.stdout.endswith("1 false, 1 to fix\n")


@pytest.mark.parametrize(("words", "others"), GONE)
def test_a_line_that_is_not_there_fails(tmp_path: Path, words: str, others: str) -> None:
    done = after(tmp_path, words, others)
    assert done.returncode == 1 and done.stdout.startswith("gone  01-shop.md:6  sell\n")
    assert "expected self.pack(item)" in done.stdout and done.stdout.endswith("1 gone, 1 to fix\n")


def test_without_the_old_tree_it_says_how_to_get_it(tmp_path: Path) -> None:
    check(tmp_path, "--vllm", shop(tmp_path, "1.0"), "--reread")
    done = check(tmp_path, "--vllm", shop(tmp_path, "2.0", SHOP.replace("price=3", "price=3, tip=0")))
    assert done.returncode == 0 and "@@" not in done.stdout
    assert "vLLM 1.0, which was read, and name it with --base:\n  python -m pip download" in done.stdout


def test_what_was_read_is_kept_without_any_text_of_it(tmp_path: Path) -> None:
    done = check(tmp_path, "--vllm", shop(tmp_path, "1.0"), "--reread")
    path = tmp_path / "notes" / "digests" / "1.0.json"
    kept = json.loads(path.read_text())
    assert done.stdout.endswith(f"Wrote {path}\n")
    assert kept["vllm"] == "1.0" and list(kept["functions"]) == ["vllm.shop:Shop.open", "vllm.shop:Shop.sell"]
    assert all(re.fullmatch("[0-9a-f]{16} [0-9a-f]{16}", each) for each in kept["functions"].values())


def test_what_is_false_is_not_kept_as_read(tmp_path: Path) -> None:
    done = check(tmp_path, "--vllm", shop(tmp_path, "1.0", SHOP.replace("price=3", "price=4")), "--reread")
    assert done.returncode == 1 and not (tmp_path / "notes" / "digests").exists()


def test_digests_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes" / "digests").mkdir(parents=True)
    (tmp_path / "notes" / "digests" / "1.0.json").write_text("{}")
    done = check(tmp_path, "--vllm", shop(tmp_path, "1.0"))
    assert done.returncode == 2 and "1.0.json cannot be read" in done.stderr and "--reread" in done.stderr
