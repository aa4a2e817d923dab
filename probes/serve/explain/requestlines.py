"""The lines of requests, counted: what the engine was given, what came of it, and HTTP answers by path and status."""

from __future__ import annotations

import re
from collections import Counter

from probes.serve.explain.logline import LogLine

HTTP = re.compile(r'"(GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH) ([^ ?"]+)[^"]*" (\d{3})\b')
MOST_PATHS = 100
OTHER_PATHS = "other paths"
# Of vLLM from 0.8 on; `Finished` is the older engine's.
PATTERNS = {
    "received": re.compile(r"^Received request "),
    "added": re.compile(r"^Added request "),
    "finished": re.compile(r"^Finished request "),
    "aborted": re.compile(r"^Aborted request"),
    "failed": re.compile(r"^Request \S+ failed"),
}


class RequestLines:
    """How many lines of each kind a log has."""

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self.http: Counter[tuple[str, int]] = Counter()

    def read(self, line: LogLine) -> bool:
        """Take a line in, if it is a request's."""
        words = line.words
        if '" ' in words and (answer := HTTP.search(words)):
            path = f"{answer[1]} {answer[2]}"
            known = (path, int(answer[3])) in self.http or len(self.http) < MOST_PATHS
            self.http[path if known else OTHER_PATHS, int(answer[3])] += 1
            return True
        if "equest" in words[:24]:
            for kind, pattern in PATTERNS.items():
                if pattern.search(words):
                    self.lines[kind] += 1
                    return True
        return False
