"""Notes of two chapters on a vLLM of one module, and a streamed request whose times are known."""

from __future__ import annotations

from pathlib import Path

from notes.quotes import Quote
from notes.walkthrough import chapters
from tests.tracing.stories import NS, stream
from tracing.breakdown.findings import Findings, findings
from tracing.source.tree import SourceTree

ROOT = Path(__file__).resolve().parents[2]
QUOTES = {"decode": Quote("5.37 ms", 5_368_534, "ns", "median over <all> steps")}
SOURCE = '''class Engine:
    def step(self):
        """Says nothing."""
        batch = self.schedule()
        text = "<b>" + """
        {{decode}} of chapter 2
        """
        return self.run(batch)

    def schedule(self):
        return []
'''
CHAPTER = """+++
title = "The <engine>"
summary = "It steps & stops."
+++

It took {{decode}}; see chapter 2, not chapter 9.

```stop
name = "one-step"
anchor = "vllm.engine:Engine.step"
fragment = "batch = self.schedule()"
role = "core"
site = "scheduler.schedule"
calls = "vllm.engine:Engine.schedule"
claims = '''
before self.run(batch)
'''
```

It takes a *batch*.

```stop
name = "gone"
anchor = "vllm.engine:Engine.wait"
fragment = "time.sleep(1)"
```

It waited.
"""


def small_tree(tmp_path: Path) -> SourceTree:
    """A vLLM of one module."""
    package = tmp_path / "tree" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "engine.py").write_text(SOURCE)
    return SourceTree.find(package)


def two_chapters(tmp_path: Path) -> tuple[chapters.Chapter, ...]:
    folder = tmp_path / "chapters"
    folder.mkdir()
    (folder / "01-engine.md").write_text(CHAPTER)
    (folder / "02-other.md").write_text('+++\ntitle = "Other"\nsummary = "More."\n+++\n\nWords.\n')
    return chapters.read(folder)


def streamed(folder: Path) -> Findings:
    """One streamed request of three steps; every span's length is known."""
    stream(folder, NS, steps=3)
    return findings(folder)
