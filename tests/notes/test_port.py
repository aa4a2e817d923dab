"""The list of what an upgrade touches: only those stops, each with both sources side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tracing.source.test_source import write_tree

ROOT = Path(__file__).resolve().parents[2]
STOP = '```stop\nname = "{0}"\nanchor = "vllm.shop:Shop.{0}"\nfragment = "self.go({0})"\n```\n'
CHAPTER = '+++\ntitle = "A shop"\nsummary = "s"\n+++\n' + "".join(map(STOP.format, ("same", "grown", "lost", "cut")))


def shop(**bodies: str) -> str:
    return "class Shop:\n" + "".join(f"    def {name}(self):\n        {body}\n" for name, body in bodies.items())


OLD = shop(same="self.go(same)", grown="self.go(grown)", lost="self.go(lost)", cut="self.go(cut)")
NEW = "# a new head\n" + shop(same="self.go( same )", grown="self.go(grown); self.more()", cut="self.come(cut)")
EXPECTED = """\
# The walkthrough from vLLM 1.0 to 2.0

3 of 4 stops are touched: 2 gone, 1 re-read.
The claims of one to re-read are all true still, of a function that says something else.

## gone: lost (01-shop.md:15)

- anchor: `vllm.shop:Shop.lost`
- fragment: `self.go(lost)`
- class Shop (vllm/shop.py:2) does not itself define lost
- nearest: `vllm.shop:Shop.cut`, `vllm.shop:Shop.same`, `vllm.shop:Shop.grown`

```text
vllm/shop.py:6                (not there)
…
    6     def lost(self):   |
    7         self.go(lost) |
```

## gone: cut (01-shop.md:20)

- anchor: `vllm.shop:Shop.cut`
- fragment: `self.go(cut)`
- the fragment is not there
- nearest: `8: self.come(cut)`

```text
vllm/shop.py:8               vllm/shop.py:7
…
    8     def cut(self):         7     def cut(self):
    9         self.go(cut) |     8         self.come(cut)
```

## re-read: grown (01-shop.md:10)

- anchor: `vllm.shop:Shop.grown`
- fragment: `self.go(grown)`
- read again: `vllm.shop:Shop.grown`

```text
vllm/shop.py:4                 vllm/shop.py:5
…
    4     def grown(self):         5     def grown(self):
    5         self.go(grown) |     6         self.go(grown); self.more()
```
"""


def test_the_list(tmp_path: Path) -> None:
    for version, text in (("1.0", OLD), ("2.0", NEW)):
        files = {"shop.py": text, "_version.py": f"__version__ = {version!r}\n"}
        write_tree(tmp_path / version, files)  # type: ignore[arg-type]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "01-shop.md").write_text(CHAPTER)
    command = [sys.executable, "-m", "notes.port", str(tmp_path / "1.0"), str(tmp_path / "2.0")]
    done = subprocess.run(
        [*command, "--notes", str(tmp_path / "notes")],
        cwd=ROOT,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines == [line.rstrip() for line in EXPECTED.splitlines()] + [""]
