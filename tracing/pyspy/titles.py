"""The command lines of processes in py-spy's events, cleared of keys in place: `--api-key abc` becomes `--api-key ***`.

The stars are as many as the key's bytes, so a file of any size is cleared without a copy of it.
"""

from __future__ import annotations

import json
import mmap
import re
from pathlib import Path

from probes.privacy.secretvalues import secret_words

TITLE = re.compile(rb'"process \d+:\\"((?:[^"\\]|\\.)*)\\""')
WORD_BEGINS = rb"(?:(?<![\w-])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))"  # after an escaped line break too
# py-spy joins the words by spaces; a header stays one word: `Authorization: Bearer abc`.
BETWEEN_WORDS = re.compile(r"(?<!:)(?<!bearer)(?<!basic) ", re.I)


def clear(path: Path) -> None:
    """Overwrite the keys in all command lines of an event file; an empty file stays as it is."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        for match in TITLE.finditer(content):
            title = match[1]
            if (cleared := cleared_title(title)) != title:
                content[match.start(1) : match.end(1)] = cleared


def cleared_title(title: bytes) -> bytes:
    """A command line, escaped as in JSON, with stars for the bytes of its keys, wherever one stands as a whole word.

    | before                  | after                   |
    | ----------------------- | ----------------------- |
    | `x --api-key abc -v`    | `x --api-key *** -v`    |
    | `app.py --api-key a -v` | `app.py --api-key * -v` |
    """
    words = BETWEEN_WORDS.split(json.loads(b'"' + title + b'"'))
    for secret in sorted(secret_words(words), key=len, reverse=True):
        escaped = json.dumps(secret, ensure_ascii=False)[1:-1].encode()
        title = re.sub(WORD_BEGINS + re.escape(escaped) + rb"(?![\w-])", b"*" * len(escaped), title)
    return title
