"""Odd targets, files and trees: never a traceback, and never a file read outside the tree."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from probes.errors import USAGE, EnginescopeError
from tracing.source.definitions import Place, read_definitions
from tracing.source.tree import Missing, SourceTree


class Opened:
    """Which files Python opens or lists while this looks; an audit hook cannot be taken away, only turned off."""

    def __init__(self) -> None:
        self.looking, self.paths = False, list[Path]()
        sys.addaudithook(self.see)

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.looking or event not in ("open", "os.listdir", "os.scandir"):
            return
        if isinstance(arguments[0], str | os.PathLike):
            self.paths.append(Path(os.path.realpath(arguments[0])))

    def outside(self, root: Path) -> list[Path]:
        """What was read outside of `root`, but for Python's own library (a codec, on first use)."""
        library = Path(os.path.realpath(os.__file__)).parent
        return [path for path in self.paths if not path.is_relative_to(root) and not path.is_relative_to(library)]


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree full of ways out, and files outside it that must stay unread."""
    folder = tmp_path_factory.mktemp("traps")
    (folder / "secret.py").write_text("def key(): ...\n")
    (folder / "outside").mkdir()
    (folder / "outside" / "secret.py").write_text("def key(): ...\n")
    deep = "if x: pass\n" + "".join(f"elif x{n}: pass\n" for n in range(5000))
    files: dict[str, bytes] = {
        "__init__.py": b"",
        "v1/__init__.py": b"",
        "shop.py": b"class Shop:\n    def sell(self): ...\n",
        "latin.py": b"# coding: latin-1\ndef caf\xe9(): ...\n",
        "bytes.py": b"\xff\xfe\x00def f(): ...",
        "null.py": b"def f(): ...\0",
        "torn.py": b"def f(:",
        "cookie.py": b"# coding: no-such-thing\n",
        "deep.py": deep.encode(),
        "nested.py": b"x = " + b"-" * 100_000 + b"1",
        "windows.py": b"\xef\xbb\xbf@a\r\n@b\r\ndef f(): ...\r\n",
    }
    root = folder / "vllm"
    (root / "v1").mkdir(parents=True)
    for name, content in files.items():
        (root / name).write_bytes(content)
    (root / "link.py").symlink_to(folder / "secret.py")
    (root / "folder").symlink_to(folder / "outside")
    (root / "loop.py").symlink_to(root / "loop.py")
    (root / "dangling.py").symlink_to("/no/such/file.py")
    (root / "near.py").symlink_to("shop.py")
    (root / "module.py").mkdir()
    os.mkfifo(root / "pipe.py")
    return root


PIECES = st.sampled_from(
    (
        *("shop", "latin", "bytes", "null", "torn", "cookie", "deep", "nested", "windows", "v1", "near", "module"),
        *("link", "folder", "secret", "loop", "dangling", "pipe", "vllm", "Shop", "sell", "f", "key", "é", "ﬁ"),
        *("..", ".", "/", "/etc/passwd", "", " ", "\0", "\n", "\ud800", "a" * 300, "[red]", "*", "~", "__init__"),
    )
)
ODD = st.lists(PIECES | st.sampled_from([".", ":", ":", "/"]), max_size=9).map("".join)
NAMES = st.lists(PIECES, max_size=3).map(".".join)
SHAPED = st.builds("vllm.{}:{}".format, NAMES, NAMES)


@given(target=st.text(max_size=40) | ODD | SHAPED)
@example("")
@example(":")
@example("vllm:f")
@example("vllm.folder.secret:key")
@example("vllm.link:key")
@example("vllm.." + "." * 50 + "etc.passwd:x")
@settings(deadline=None, max_examples=400)
def test_any_target_is_a_place_or_a_clear_error(traps: Path, opened: Opened, target: str) -> None:
    tree = SourceTree.find(traps)
    opened.paths, opened.looking = [], True
    try:
        answer = tree.resolve(target)
        assert isinstance(answer, Place | Missing)
        assert str(answer)
    except EnginescopeError as error:
        assert str(error)
        assert error.code == USAGE or "leads out of the tree" in str(error)
    finally:
        opened.looking = False
    assert opened.outside(traps) == []


@pytest.mark.parametrize("stem", ["bytes", "null", "torn", "cookie", "deep", "nested"])
def test_unreadable_files_say_so(traps: Path, stem: str) -> None:
    answer = SourceTree.find(traps).resolve(f"vllm.{stem}:f")
    assert isinstance(answer, Missing)
    assert answer.reason.startswith(f"vllm/{stem}.py is not Python that this Python reads")


@pytest.mark.parametrize("target", ["vllm.link:key", "vllm.folder.secret:key", "vllm.dangling:key"])
def test_links_out_of_the_tree_are_refused(traps: Path, target: str) -> None:
    with pytest.raises(EnginescopeError, match="leads out of the tree"):
        SourceTree.find(traps).resolve(target)


def test_odd_files_that_are_fine(traps: Path) -> None:
    tree = SourceTree.find(traps)
    for target, file, first in [
        ("vllm.latin:café", "vllm/latin.py", 2),
        ("vllm.windows:f", "vllm/windows.py", 1),
        ("vllm.near:Shop.sell", "vllm/near.py", 2),
    ]:
        place = tree.resolve(target)
        assert isinstance(place, Place) and (place.file, place.first) == (file, first)
        assert place.lines()[-1].endswith(": ...")


STATEMENTS = (
    *("class A:", "def f():", "async def f():", "if x:", "else:", "try:", "finally:", "match x:", "case 1:", "with x:"),
    *("@overload", "@f(1)", "yield", "pass", "lambda: (yield)", "x = '''", "\\", "\x0c", "\r", "(", ")", "é"),
)
LINES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(STATEMENTS)).map(lambda line: " " * line[0] + line[1]), max_size=12
)


@given(content=st.binary(max_size=60) | LINES.map(lambda lines: "\n".join(lines).encode()))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.py"
    path.write_bytes(content)
    definitions = read_definitions(path, "vllm/file.py")
    if isinstance(definitions, str):
        assert definitions.startswith("is not Python")
    else:
        assert all(1 <= place.first <= place.last <= len(place.text) for place in definitions.values())
