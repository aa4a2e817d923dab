"""What an adaptive run goes for, as the command line takes it."""

from __future__ import annotations

import argparse

import pytest

from offline.spec.effort import duration, share


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("10min", 600), ("1.5 h", 5400), ("500ms", 0.5)]
)
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "ten", "0m", "-3s", "nan", "1d", "1day", "5sm"])
def test_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a time"):
        duration(text)


@pytest.mark.parametrize(("text", "value"), [("3%", 0.03), ("0.03", 0.03), ("12.5%", 0.125)])
def test_a_share(text: str, value: float) -> None:
    assert share(text) == value


@pytest.mark.parametrize("text", ["", "%", "0", "100%", "three"])
def test_no_share(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a share"):
        share(text)
