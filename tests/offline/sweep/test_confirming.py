"""What is asked before a long run."""

from __future__ import annotations

import io
import sys

import pytest

from offline.sweep.preparation import confirm


@pytest.mark.parametrize(
    ("typed", "starts"), [("y\n", True), (" YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_a_yes_starts_it_and_the_question_does_not_go_where_the_table_goes(
    typed: str, starts: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert confirm("1 h 05 min") is starts
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "This may take 1 h 05 min. Start? [y/N] ")
