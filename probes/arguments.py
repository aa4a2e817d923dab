"""The command lines of all rooms: what is wrong with one is one line, with the nearest name and without the usage."""

from __future__ import annotations

import argparse
import sys
from difflib import get_close_matches
from typing import NoReturn

from probes.errors import USAGE

LIKE = 0.6  # of 1, how alike two names are to be taken for a slip


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line.

    | typed          | stderr                                                                   |
    | -------------- | ------------------------------------------------------------------------ |
    | `--max-lenn 5` | error: unrecognized arguments: --max-lenn 5; did you mean --max-len? …   |
    | `--port x`     | error: argument --port: invalid int value: 'x'; …                        |
    """

    def error(self, message: str) -> NoReturn:
        """Leave with code 2."""
        near = ", ".join(self._nearest(message))
        hint = f"; did you mean {near}?" if near else ";"
        print(f"error: {message}{hint} {self.prog} --help lists all options", file=sys.stderr)
        sys.exit(USAGE)

    def _nearest(self, message: str) -> list[str]:
        """The known options nearest to the unknown ones that a message names."""
        if not message.startswith("unrecognized arguments:"):
            return []
        known = [option for action in self._actions for option in action.option_strings]
        unknown = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        return [name for word in unknown for name in get_close_matches(word, known, 1, LIKE)]
