"""What is wrong with a command line is one line."""

from __future__ import annotations

import ast

import pytest

from probes.arguments import CommandParser
from tests.house.test_layout import MODULES, ROOT


def parser() -> CommandParser:
    commands = CommandParser(prog="python -m probes.x")
    commands.add_argument("--max-len", type=int)
    commands.add_argument("--json", action="store_true")
    return commands


def test_a_slip_in_a_required_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    commands = parser()
    commands.add_argument("--output", required=True)
    with pytest.raises(SystemExit) as end:
        commands.parse_args(["--outputt", "x", "--json"])
    assert end.value.code == 2
    line = "error: the following arguments are required: --output; did you mean --output? "
    assert capsys.readouterr().err == f"{line}python -m probes.x --help lists all options\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--max-lenn", "5"], "error: unrecognized arguments: --max-lenn 5; did you mean --max-len? "),
        (["--maxlen=5", "--jsn"], "error: unrecognized arguments: --maxlen=5 --jsn; did you mean --max-len, --json? "),
        (["--frobnicate"], "error: unrecognized arguments: --frobnicate; "),
        (["--max-len", "x"], "error: argument --max-len: invalid int value: 'x'; "),
    ],
)
def test_one_line_with_the_nearest_name(words, line, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"{line}python -m probes.x --help lists all options\n"


@pytest.mark.parametrize("module", [module for module in MODULES if module != "probes/arguments.py"])
def test_every_command_has_this_parser(module: str) -> None:
    calls = [node.func for node in ast.walk(ast.parse((ROOT / module).read_text())) if isinstance(node, ast.Call)]
    assert "argparse.ArgumentParser" not in map(ast.unparse, calls)
