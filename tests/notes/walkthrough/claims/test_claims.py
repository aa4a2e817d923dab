"""Each kind of claim on a small function: where it is true, where it is false, and what is no claim at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from notes.walkthrough.anchors import Anchor
from notes.walkthrough.chapters import Stop
from notes.walkthrough.claims import digests
from notes.walkthrough.claims.claim import claim, claims
from notes.walkthrough.claims.judgement import judge
from notes.walkthrough.fragment import Fragment
from probes.errors import EnginescopeError
from tests.tracing.source.test_source import write_tree
from tracing.source.tree import SourceTree

SHOP = """\
import os
from dataclasses import dataclass, field

PATIENCE_MINS = 5
SETTINGS = {"SHOP_DOOR": lambda: os.getenv("SHOP_DOOR", "12")}


@dataclass
class Till:
    coins: int = field(default=7)
    open: bool = True


class Shop:
    async def sell(self, item, price: int = 3, *, wrapped=False):
        '''Sells.'''
        if item is None:
            return
        if not self.open and item.costly:
            raise Closed
        with self.till:
            paid = await self.till.pay(price, note="cash", tip=False)
        if paid < price:
            self.grumble(item)
            return
        try:
            self.pack(item)
        except Torn:
            self.mend(item)
            raise
        while self.queue:
            self.call(self.queue.popleft())
        if False:
            self.dance()
        self.note(item)

    def close(self):
        self.count(); self.lock()

    def lend(self):
        return self.count()

    def count(self):
        return len(self.coins)
"""


def untrue(tmp_path: Path, fragment: str, text: str, function: str = "sell", source: str = SHOP) -> tuple[str, ...]:
    """Why what is claimed of a fragment is not true."""
    tree = SourceTree.find(write_tree(tmp_path, {"shop.py": source}))
    stop = Stop("stop", Anchor(f"vllm.shop:Shop.{function}", Fragment(fragment)), claims=(claim(text),))
    return judge(stop, tree).untrue


TRUE = [
    ("self.pack(item)", "before self.note(item)"),
    ("self.pack(item)", "after paid = await self.till.pay(...)"),
    ("self.pack(item)", "under paid >= price"),
    ("self.pack(item)", "under price <= paid"),
    ("self.pack(item)", "under item is not None"),
    ("self.pack(item)", "under not (not self.open and item.costly)"),
    ("self.pack(item)", "not under self.queue"),
    ("self.call(self.queue.popleft())", "under while self.queue:"),
    ("self.call(self.queue.popleft())", "under self.queue"),
    ("self.mend(item)", "under except Torn:"),
    ("except Torn:", "then raise"),
    ("if paid < price:", "then self.grumble(item)"),
    ("self.pack(item)", "has await self.till.pay(...)"),
    ("self.pack(item)", "has self.grumble(item) under paid < price"),
    ("self.pack(item)", "lacks self.dance()"),
    ("self.pack(item)", "lacks self.sing()"),
    ("self.pack(item)", "default price = 3"),
    ("self.pack(item)", "default wrapped = False"),
    ("self.pack(item)", "default coins = 7 in vllm.shop:Till"),
    ("self.pack(item)", "default open = True in vllm.shop:Till"),
    ("self.pack(item)", "default PATIENCE_MINS = 5 in vllm.shop"),
    ("self.pack(item)", "default SHOP_DOOR = 12 in vllm.shop"),
    ("self.till.pay", "argument note = 'cash'"),
    ("self.till.pay", "argument 0 = price"),
    ("self.pack(item)", "is coroutine"),
    ("self.pack(item)", "is function in vllm.shop:Shop.close"),
    ("self.pack(item)", "only callers close, lend in vllm.shop:Shop.count"),
]
FALSE = [
    ("self.pack(item)", "before self.till.pay", "the other runs before it"),
    ("self.pack(item)", "after self.note(item)", "the other runs after it"),
    ("self.pack(item)", "before self.dance()", "the other line is not there, or can never run"),
    ("self.pack(item)", "under paid > price", "that does not decide over it"),
    ("self.pack(item)", "under except Torn:", "that does not decide over it"),
    ("self.pack(item)", "not under item is not None", "that decides over it now"),
    ("self.pack(item)", "always", "line 17 decides over it"),
    ("if paid < price:", "then self.pack(item)", "its block does not have that"),
    ("if paid < price:", "else self.grumble(item)", "its block does not have that"),
    ("self.pack(item)", "has self.dance()", "that is not there, or can never run"),
    (
        "self.pack(item)",
        "has self.note(item) under paid < price",
        "that is there, and the test does not decide over it",
    ),
    ("self.pack(item)", "lacks self.note(item)", "that is there now"),
    ("self.pack(item)", "default price = 4", "it is 3"),
    ("self.pack(item)", "default item = 4", "item has no default there"),
    ("self.pack(item)", "default coins = 8 in vllm.shop:Till", "it is 7"),
    ("self.pack(item)", "default open = 1 in vllm.shop:Till", "it is True"),
    ("self.pack(item)", "default SHOP_DOOR = 13 in vllm.shop", "it is '12'"),
    ("self.pack(item)", "default SHOP_DOOR = 13 in vllm.mall", "there is no module vllm.mall"),
    ("self.pack(item)", "has self.count() in vllm.shop:Shop.steal", "vllm.shop:Shop.steal is not there"),
    ("self.till.pay", "argument tip = True", "it is False"),
    ("self.till.pay", "argument change = True", "the call is not given it"),
    ("self.pack(item)", "is function", "it is a coroutine"),
    ("self.pack(item)", "only callers close in vllm.shop:Shop.count", "it is called by lend too"),
    ("self.pack(item)", "only callers close, lend, buy in vllm.shop:Shop.count", "it is called by not buy"),
]


@pytest.mark.parametrize(("fragment", "text"), TRUE)
def test_a_claim_that_is_true(tmp_path: Path, fragment: str, text: str) -> None:
    assert untrue(tmp_path, fragment, text) == ()


@pytest.mark.parametrize(("fragment", "text", "reason"), FALSE)
def test_a_claim_that_is_false_says_why(tmp_path: Path, fragment: str, text: str, reason: str) -> None:
    assert untrue(tmp_path, fragment, text) == (f"{text}: {reason}",)


def test_what_runs_in_every_call(tmp_path: Path) -> None:
    assert untrue(tmp_path, "self.lock()", "always", "close") == ()
    refused = SHOP.replace("self.count(); self.lock()", "if self.busy: raise Busy\n        self.lock()")
    assert untrue(tmp_path / "refused", "self.lock()", "always", "close", refused) == ()
    sometimes = SHOP.replace("self.count(); self.lock()", "if self.busy: return\n        self.lock()")
    assert untrue(tmp_path / "sometimes", "self.lock()", "always", "close", sometimes)


@pytest.mark.parametrize(
    "dead",
    [
        "if False: self.lock()",
        "if self.late and 0: self.lock()",
        "if not True: self.lock()",
        "while (): self.lock()",
        "raise Closed; self.lock()",
        "while True: self.count()\n        self.lock()",
        "if self.late: return 1\n        else: return 2\n        self.lock()",
        "None if True else self.lock()",
    ],
)
def test_a_line_that_can_never_run_needs_no_claim(tmp_path: Path, dead: str) -> None:
    source = SHOP.replace("self.count(); self.lock()", dead)
    assert "the line is there and can never run" in untrue(tmp_path, "self.lock()", "is function", "close", source)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("while self.late: self.lock()", "under while self.late:"),
        ("while True:\n            if self.late: break\n        self.lock()", "is function"),
        ("if True: self.lock()", "always"),
        ("if self.late:\n            raise Closed\n        self.lock()", "under not self.late"),
    ],
)
def test_a_line_that_can_run_is_not_called_dead(tmp_path: Path, line: str, text: str) -> None:
    assert untrue(tmp_path, "self.lock()", text, "close", SHOP.replace("self.count(); self.lock()", line)) == ()


OTHER_WORDS = [
    ("paid", "received"),
    ("item", "thing"),
    ("price", "cost"),
    ("if paid < price:", "if price > paid:"),
    ("paid = await", "paid: int = await"),
    ('note="cash", tip=False', 'tip=False, note="cash"'),
    ("self.pack(item)", "self.pack(\n                item,  # carefully\n            )"),
]


@pytest.mark.parametrize(("words", "others"), OTHER_WORDS)
def test_the_same_in_other_words_stays_true(tmp_path: Path, words: str, others: str) -> None:
    assert words in SHOP
    for number, (fragment, text) in enumerate(TRUE):
        if not text.startswith("default"):  # the name of a parameter is what that claim is about
            assert untrue(tmp_path / str(number), fragment, text, source=SHOP.replace(words, others)) == ()


SORTING = """\
class Shop:
    def sort(self, items):
        notes, coins = [], []
        for item in items:
            if item.flat:
                notes.append(item)
            else:
                coins.append(item)
        return self.drawer(notes, coins)
"""


@pytest.mark.parametrize(
    ("words", "others", "standing"),
    [
        ("coins", "metal", "re-read"),
        ("notes", "paper", "re-read"),  # the marked line too: it is one of two that look alike then
        ("notes.append(item)\n", "coins.append(item)\n", "gone"),
        ("coins.append(item)", "coins.insert(0, item)", "false"),
    ],
)
def test_locals_of_other_names_among_others_like_them_are_to_be_read_again(
    tmp_path: Path, words: str, others: str, standing: str
) -> None:
    assert words in SORTING
    stop = Stop(
        "stop",
        Anchor("vllm.shop:Shop.sort", Fragment("notes.append(item)")),
        claims=(claim("under item.flat"), claim("has coins.append(item) under not item.flat")),
    )
    read, now = (
        SourceTree.find(write_tree(tmp_path / name, {"shop.py": source}))
        for name, source in (("read", SORTING), ("now", SORTING.replace(words, others)))
    )
    assert judge(stop, now, digests.take([stop], read)).standing == standing


def test_branches_that_exclude_each_other_have_no_order(tmp_path: Path) -> None:
    source = SHOP.replace("self.count(); self.lock()", "if self.late: self.lock()\n        else: self.count()")
    reasons = untrue(tmp_path, "self.lock()", "before self.count()", "close", source)
    assert reasons == ("before self.count(): the two are in branches of which only one runs",)


@pytest.mark.parametrize(("line", "others"), [("self.late", "not self.late"), ("not self.late", "self.late")])
def test_the_opposite_test_turns_the_blocks(tmp_path: Path, line: str, others: str) -> None:
    both = "if {}: self.{}()\n        else: self.{}()"
    same = SHOP.replace("self.count(); self.lock()", both.format(others, "count", "lock"))
    assert untrue(tmp_path / "same", f"if {line}:", "then self.lock()", "close", same) == ()
    opposite = SHOP.replace("self.count(); self.lock()", both.format(others, "lock", "count"))
    assert untrue(tmp_path / "opposite", f"if {line}:", "then self.lock()", "close", opposite)


def test_claims_are_read_line_by_line() -> None:
    read = claims("\n  always\nhas self.pay('in vllm') in vllm.shop:Shop\ndefault A = {'b': 1} in vllm.shop\n")
    assert [(each.verb, each.words, each.target) for each in read] == [
        ("always", "", ""),
        ("has", "self.pay('in vllm')", "vllm.shop:Shop"),
        ("default", "A = {'b': 1}", "vllm.shop"),
    ]
    assert [str(each) for each in read][1] == "has self.pay('in vllm') in vllm.shop:Shop"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("perhaps self.pay()", "one begins with before, after"),
        ("always self.pay()", "'always' stands alone"),
        ("has", "it says nothing"),
        ("has a b", "fragment 'a b'"),
        ("default price", "write NAME = VALUE"),
        ("argument price = a b", "write NAME = VALUE"),
        ("before self.pay() in vllm.shop:Shop", "'before' is about the stop's own function"),
    ],
)
def test_what_is_no_claim(line: str, words: str) -> None:
    with pytest.raises(EnginescopeError) as error:
        claims(line)
    assert words in str(error.value) and line.split()[0] in str(error.value)
