"""Which stacks work and which wait, by a table of frames that are all in the installed sources."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

import pytest

from tests.tracing.stackframes import GET, MAIN, SITE, WAIT, WAITING, WORKING
from tracing.pyspy import sampler, waitingframes
from tracing.pyspy.events import Frame
from tracing.source.tree import Missing, SourceTree


@pytest.mark.parametrize(
    ("stack", "state"),
    [
        ((MAIN, GET, WAIT), "event or queue"),
        (WAITING, "spin on shared memory"),
        (WORKING, "working"),
        ((("Poller.poll", f"{SITE}zmq/sugar/poll.py", 106),), "poll"),
        ((("EpollSelector.select", "/usr/lib/python3.11/selectors.py", 468),), "poll"),
        ((("Condition.wait", "/home/me/threading.py.d/mine.py", 1),), "working"),
        ((("nap", __file__, 1), ("sampler._nap", sampler.__file__, 0)), "working"),
    ],
)
def test_state(stack: tuple[tuple[str, str, int], ...], state: str) -> None:
    assert waitingframes.state(tuple(Frame(*call) for call in stack)) == state


def test_a_line_that_sleeps_waits(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\nx = 1\ntime.sleep(5)\n")
    assert waitingframes.state((Frame("<module>", str(script), 3),)) == "sleep"
    assert waitingframes.state((Frame("<module>", str(script), 2),)) == "working"


def names_in(path: Path) -> set[str]:
    """The functions of a source file by qualified name, under an `if` too."""
    tree = ast.parse(path.read_text())
    owners = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return found | {
        f"{o.name}.{node.name}" for o in owners for node in ast.walk(o) if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize(("file", "name"), [*waitingframes.INNERMOST, *waitingframes.ANYWHERE, *waitingframes.ENTRIES])
def test_every_frame_of_the_tables_is_there(file: str, name: str | None) -> None:
    """In the standard library, or in what is installed; vLLM's in its source."""
    if file.startswith("vllm/"):
        found = SourceTree.find(None).resolve(f"{file.removesuffix('.py').replace('/', '.')}:{name}")
        assert not isinstance(found, Missing), found
        return
    places = [Path(sysconfig.get_path(key), file) for key in ("stdlib", "platlib")]
    place = next((place for place in places if place.exists()), None)
    if place is None and file.startswith("uvloop/"):
        pytest.skip("uvloop is not installed")
    assert place is not None, f"{file} is nowhere"
    assert name is None or name in names_in(place)
