"""The examples of the page of clients, as it shows them."""

from __future__ import annotations

import re
import subprocess
import sys

from notes.study import texts

PAGE_ADDRESS = "127.0.0.1:8000"


def blocks(language: str, kind: str) -> list[str]:
    """The page's blocks that begin with "```language kind"."""
    return re.findall(rf"^```{language} {kind}\n(.*?)^```", texts.path("clients").read_text(), re.M | re.S)


def run_all(port: int) -> list[str]:
    """Run every client against a server on this port, one after the other; what each printed."""
    commands = [["bash", "-c", block] for block in blocks("bash", "run")]
    commands += [[sys.executable, "-c", block] for block in blocks("python", "run")]
    outputs = []
    for command in commands:
        words = [word.replace(PAGE_ADDRESS, f"127.0.0.1:{port}") for word in command]
        result = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, f"{words[-1]}\n{result.stderr[-2000:]}"
        outputs.append(result.stdout)
    return outputs
