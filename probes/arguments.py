"""The command lines of all rooms: what is wrong with one is one line, with the nearest name and without the usage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn, Protocol

from probes.errors import USAGE

LIKE = 0.6  # of 1, how alike two names are to be taken for a slip


class HelpOutput(Protocol):
    """Where a text can be written."""

    def write(self, text: str, /) -> object:
        """Write it."""


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line.

    | typed          | stderr                                                                   |
    | -------------- | ------------------------------------------------------------------------ |
    | `--max-lenn 5` | error: unrecognized arguments: --max-lenn 5; did you mean --max-len? …   |
    | `--port x`     | error: argument --port: invalid int value: 'x'; …                        |
    | `--outt x`     | error: the following arguments are required: --out; did you mean --out? … |
    """

    words: Sequence[str] = ()  # the command line that is parsed

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # as its base has them
        """As its base does, with the words kept for the error's hint."""
        self.words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def print_help(self, file: HelpOutput | None = None) -> None:
        """As its base does; an output that does not take it is an error here."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Leave with code 2."""
        near = ", ".join(self._nearest(message))
        hint = f"; did you mean {near}?" if near else ";"
        print(f"error: {message}{hint} {self.prog} --help lists all options", file=sys.stderr)
        sys.exit(USAGE)

    def _nearest(self, message: str) -> list[str]:
        """The known options nearest to the unknown ones that a message names."""
        known = [option for action in self._actions for option in action.option_strings]
        if message.startswith("unrecognized arguments:"):
            words = message.split()
        elif "arguments are required:" in message:  # argparse says this first, and nothing of the unknown ones
            words = [word for word in self.words if not any(name.startswith(word.partition("=")[0]) for name in known)]
        else:
            words = []
        unknown = [word.partition("=")[0] for word in words if word.startswith("--")]
        return [name for word in unknown for name in get_close_matches(word, known, 1, LIKE)]
