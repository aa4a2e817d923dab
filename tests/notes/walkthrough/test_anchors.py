"""Fragments and anchors on small sources: what is the same line, and what is said where it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from notes.walkthrough.anchors import Anchor, Verdict, judge
from notes.walkthrough.fragment import Fragment
from probes.errors import EnginescopeError
from tests.tracing.source.test_source import write_tree
from tracing.source.definitions import Place, read_definitions
from tracing.source.likeness import same_code
from tracing.source.tree import SourceTree

TILL = '''\
class Till:
    @property
    def open(self):
        return self._open

    async def ring(self, items):
        """Two lines
of words."""
        while items and not self.full:
            item = (
                items.pop()  # the last
            )
            total = await self.sum(item, tax=0.19,)
            self.drawer["coins"] = total
        try:
            yield self.pay(
                total,
                'cash',
            )
        except ValueError as error:
            raise Closed("closed") from error
        for price in self.prices:
            print(price)

def ring(items):
    return len(items)
'''


def place(source: str, name: str, folder: Path) -> Place:
    path = folder / "till.py"
    path.write_text(source)
    definitions = read_definitions(path, "vllm/till.py")
    assert isinstance(definitions, dict)
    return definitions[name]


@pytest.mark.parametrize(
    ("fragment", "lines"),
    [
        ("while items and not self.full:", (9, 9)),
        ("while not self.full and items:", None),
        ("item = items.pop()", (10, 12)),
        ("items.pop()", (11, 11)),
        ("await self.sum(item, tax=0.19)", (13, 13)),
        ("self.sum(item, tax = 0.19, )  # a comment", (13, 13)),
        ("self.sum(item, tax=0.2)", None),
        ("self.drawer['coins'] = total", (14, 14)),
        ("self.drawer['coins']", (14, 14)),
        ('yield self.pay(total, "cash")', (16, 19)),
        ("except ValueError as error:", (20, 20)),
        ("except ValueError:", None),
        ("raise Closed('closed') from error", (21, 21)),
        ("for price in self.prices:", (22, 22)),
        ("async def ring(self, items):", (6, 6)),
        ("def ring(self, items):", None),
        ("return len(items)", None),
    ],
)
def test_a_line_is_found_however_it_is_laid_out(fragment: str, lines: tuple[int, int] | None, tmp_path: Path) -> None:
    places = Fragment(fragment).find(place(TILL, "Till.ring", tmp_path))
    assert [(each.first, each.last) for each in places] == ([lines] if lines else [])


def test_decorated_and_unindented_definitions_have_their_own_lines(tmp_path: Path) -> None:
    (only,) = Fragment("return self._open").find(place(TILL, "Till.open", tmp_path))
    assert (only.first, only.last) == (4, 4)
    (only,) = Fragment("return len(items)").find(place(TILL, "ring", tmp_path))
    assert (only.first, only.last) == (26, 26)


def test_every_occurrence_is_found(tmp_path: Path) -> None:
    places = Fragment("go(x)").find(place("def f(x):\n    go(x)\n    if go(x):\n        pass\n", "f", tmp_path))
    assert [each.first for each in places] == [2, 3]


NONE = ["", " ", "a\nb", "a; b", "else:", "finally:", "a b", "x" * 121, "(" * 99, "\0", "@x"]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_fragment(text: str) -> None:
    with pytest.raises(EnginescopeError, match="fragment"):
        Fragment(text)


@pytest.mark.parametrize(
    ("fragment", "named"),
    [
        ("self.step()", True),
        ("Thread(target=self.step)", True),
        ("self.rpc('step', args)", True),
        ("self.steps()", False),
        ("step.run()", True),
        ("self.rpc('steps')", False),
    ],
)
def test_what_a_fragment_calls_or_hands_on(fragment: str, named: bool) -> None:
    assert Fragment(fragment).names("step") is named


def test_comments_and_layout_are_no_difference(tmp_path: Path) -> None:
    before = place("class A:\n    def f(self):\n        return (1,  2)\n", "A.f", tmp_path)
    after = place("class A:\n    # new\n    def f(self):\n\n        return 1, 2  # two\n", "A.f", tmp_path)
    other = place("class A:\n    def f(self):\n        return (1, 3)\n", "A.f", tmp_path)
    assert same_code(before, after) and not same_code(before, other)


# --- verdicts ---

TREE = {
    "shop.py": "class Shop:\n    def sell(self):\n        self.pack(1)\n\n    def lend(self):\n        self.note(2)\n",
    "bank.py": "class Bank:\n    def count(self):\n        self.coins(3)\n",
}


def verdict(tmp_path: Path, anchor: str, fragment: str, **files: str) -> Verdict:
    tree = SourceTree.find(write_tree(tmp_path / "new", TREE | {f"{name}.py": text for name, text in files.items()}))
    base = SourceTree.find(write_tree(tmp_path / "old", dict(TREE)))
    with_base, alone = (judge(Anchor(anchor, Fragment(fragment)), tree, each) for each in (base, None))
    assert with_base == alone
    return alone


def test_holds(tmp_path: Path) -> None:
    judgement = verdict(tmp_path, "vllm.shop:Shop.sell", "self.pack(1)")
    assert (judgement.standing, judgement.where) == ("holds", "vllm/shop.py:3")


def test_moved_to_another_module_or_class(tmp_path: Path) -> None:
    judgement = verdict(tmp_path / "mall", "vllm.shop:Shop.sell", "self.pack(1)", shop="", mall=TREE["shop.py"])
    assert (judgement.standing, judgement.target, judgement.where) == ("moved", "vllm.mall:Shop.sell", "vllm/mall.py:3")
    judgement = verdict(tmp_path, "vllm.shop:Shop.sell", "self.pack(1)", shop=TREE["shop.py"].replace("Shop", "Market"))
    assert (judgement.standing, judgement.target) == ("moved", "vllm.shop:Market.sell")
    pulled = TREE["shop.py"].replace("Shop", "Trade") + "class Shop(base.Trade):\n    def lend(self): ...\n"
    judgement = verdict(tmp_path / "up", "vllm.shop:Shop.sell", "self.pack(1)", shop=pulled)
    assert (judgement.standing, judgement.target) == ("moved", "vllm.shop:Trade.sell")


def test_changed_shows_the_present_lines(tmp_path: Path) -> None:
    judgement = verdict(tmp_path, "vllm.shop:Shop.sell", "self.pack(2)")
    assert (judgement.standing, judgement.nearest) == ("gone", ("3: self.pack(1)",))
    assert judgement.where == "vllm/shop.py:2"


def test_gone_names_what_has_the_code_first(tmp_path: Path) -> None:
    judgement = verdict(tmp_path, "vllm.shop:Shop.lent", "self.pack(1)")
    assert (judgement.standing, judgement.nearest[0]) == ("gone", "vllm.shop:Shop.sell")
    judgement = verdict(tmp_path, "vllm.shop:Shop.lent", "self.nothing_like_it()")
    assert (judgement.standing, judgement.nearest[0]) == ("gone", "vllm.shop:Shop.lend")
    judgement = verdict(tmp_path, "vllm.shops:Shop.sell", "self.nothing_like_it()")
    assert (judgement.standing, judgement.nearest) == ("gone", ("vllm.shop:Shop.sell",))


def test_what_was_in_the_other_place_before_has_not_moved_there(tmp_path: Path) -> None:
    twin = "class Twin:\n    def sell(self):\n        self.pack(1)\n"
    old = SourceTree.find(write_tree(tmp_path / "old", TREE | {"twin.py": twin}))
    new = SourceTree.find(write_tree(tmp_path / "new", {"shop.py": "", "twin.py": twin}))
    anchor = Anchor("vllm.shop:Shop.sell", Fragment("self.pack(1)"))
    assert judge(anchor, new, old).standing == "gone"
    assert judge(anchor, new).standing == "moved"  # without the older tree the two cannot be told apart
    beside = SourceTree.find(write_tree(tmp_path / "beside", {"shop.py": "class Shop: ...\n", "twin.py": twin}))
    assert judge(anchor, beside).standing == "gone"  # but where its class is still there, a twin is no heir
