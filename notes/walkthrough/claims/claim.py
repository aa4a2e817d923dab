"""A claim: one line that says what a sentence says, in words that a tree of source can be asked about.

| claim                          | it holds where                                                                   |
| ------------------------------ | -------------------------------------------------------------------------------- |
| `before CODE`, `after CODE`    | the code is in the function too, and runs only later, or earlier, than the fragment |
| `under TEST`, `not under TEST` | the fragment runs only where the test is true; no such test decides over it      |
| `under HEAD:`                  | the fragment is in such a block: `while True:`, `except ValueError:`             |
| `always`                       | no `if`, loop, handler or early return decides over the fragment                 |
| `then CODE`, `else CODE`       | the block that the fragment begins has the code; its `else` has                  |
| `has CODE`, `lacks CODE`       | the code is in the function, where it can run; it is not                         |
| `has CODE under TEST`          | the code is in the function, and runs only where the test is true                |
| `default NAME = VALUE`         | a parameter, field, name or environment variable begins with the value           |
| `argument NAME = VALUE`        | the fragment's call hands that on; a number is a place                           |
| `is KIND`                      | the function is a `generator`, `coroutine`, …                                    |
| `only callers NAME, NAME`      | nothing else in the tree calls the function by its name                          |

`has`, `lacks`, `default`, `is` and `only callers` may be about another place: `… in vllm.module:Class.method`, of a
class, or for `default` of a module (`in vllm.envs`). That a stop's fragment can run at all need not be said.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property

from notes.walkthrough.body import one_way
from notes.walkthrough.fragment import Fragment
from probes.errors import EnginescopeError, usage_error

VERBS = (
    "before",
    "after",
    "under",
    "not under",
    "always",
    "then",
    "else",
    "has",
    "lacks",
    "default",
    "argument",
    "is",
    "only callers",
)
ELSEWHERE = ("has", "lacks", "default", "is", "only callers")
CODE = ("before", "after", "under", "not under", "then", "else", "has", "lacks")
UNDER = " under "
VALUE = ("default", "argument")
LINE = re.compile(rf"(?P<verb>{'|'.join(VERBS)})(?:\s+(?P<words>.*?))?(?:\s+in (?P<target>vllm[\w.]*(?::[\w.]+)?))?")


@dataclass(frozen=True)
class Claim:
    """A verb, what it is about (code, `NAME = VALUE`, a kind, names), and where; no `target` is the stop's function."""

    verb: str
    words: str
    target: str = ""

    @cached_property
    def fragment(self) -> Fragment:
        """The code that it is about."""
        return Fragment(self.words.partition(UNDER)[0] if self.verb == "has" else self.words)

    @cached_property
    def test(self) -> Fragment | None:
        """The test that the code stands under, where the claim says so."""
        return Fragment(self.words.partition(UNDER)[2]) if self.verb == "has" and UNDER in self.words else None

    @cached_property
    def name(self) -> str:
        """The name that has the value."""
        return self.words.partition("=")[0].strip()

    @cached_property
    def value(self) -> ast.AST:
        """The value that the name has."""
        return one_way(ast.parse(self.words.partition("=")[2].strip(), mode="eval").body)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.verb, self.words, self.target and f"in {self.target}")))


def claims(text: str) -> tuple[Claim, ...]:
    """The claims of a stop, one a line; a usage error says which is none."""
    return tuple(claim(line.strip()) for line in text.splitlines() if line.strip())


def claim(line: str) -> Claim:
    """One claim."""
    match = LINE.fullmatch(line)
    if match is None:
        raise usage_error(f"{line!r} is no claim; one begins with {', '.join(VERBS)}")
    candidate = Claim(match["verb"], match["words"] or "", match["target"] or "")
    if problem := _problem(candidate):
        raise usage_error(f"{line!r} is no claim: {problem}")
    return candidate


def _problem(claim: Claim) -> str:
    if claim.target and claim.verb not in ELSEWHERE:
        return f"{claim.verb!r} is about the stop's own function"
    if bool(claim.words) == (claim.verb == "always"):
        return "it says nothing" if claim.verb != "always" else "'always' stands alone"
    try:
        if claim.verb in CODE:
            claim.fragment, claim.test  # noqa: B018, they say themselves what is wrong with them
        if claim.verb in VALUE and not (claim.value and claim.name):
            return "write NAME = VALUE"
    except EnginescopeError as error:
        return str(error)
    except SyntaxError:
        return "write NAME = VALUE"
    return ""
