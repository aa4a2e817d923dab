"""Mix profiles: the built-in ones have the published means, and what a file gets wrong is one line."""

from __future__ import annotations

import json
import statistics
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.workload.items import Item
from offline.workload.lengths import FIXED, LOGNORMAL, UNIFORM, Lengths
from offline.workload.profile import BUILT_IN, MixPart, MixProfile, SharedPrefix, read_profile
from probes.errors import EnginescopeError

FIVE = Lengths(FIXED, 5)
PUBLISHED = {"alpaca": (19.31, 58.45), "sharegpt": (161.31, 337.99)}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_profile_calls_itself_synthetic_and_gives_its_source(name: str) -> None:
    profile = read_profile(name)
    assert profile.name == name and profile.synthetic and "assumed" in profile.source


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_built_in_profile_has_the_published_means(name: str) -> None:
    items = list(islice(read_profile(name).draw(1), 40_000))
    means = (statistics.fmean(i.input_tokens for i in items), statistics.fmean(i.output_tokens for i in items))
    assert means == pytest.approx(PUBLISHED[name], rel=0.03)


def test_the_mixture_is_half_and_half() -> None:
    parts = [item.part for item in islice(read_profile("mixture").draw(3), 10_000)]
    assert parts.count("alpaca") == pytest.approx(5000, abs=250)


def test_draws_are_the_same_for_a_seed() -> None:
    profile = read_profile("mixture")
    assert list(islice(profile.draw(4), 50)) == list(islice(profile.draw(4), 50))
    assert list(islice(profile.draw(4), 50)) != list(islice(profile.draw(5), 50))


def test_a_shared_prefix_is_part_of_the_prompt() -> None:
    part = MixPart("chat", 1, FIVE, FIVE, SharedPrefix(1, 3), {"temperature": 0.7})
    assert part.draw(np.random.default_rng(0)) == Item(5, 5, "chat/0", 3, {"temperature": 0.7}, part="chat")
    long = MixPart("chat", 1, FIVE, FIVE, SharedPrefix(1, 9))
    assert long.draw(np.random.default_rng(0)).input_tokens == 10


@given(st.sampled_from([UNIFORM, LOGNORMAL]), st.floats(2, 500), st.floats(0, 0.5), st.integers(0, 2**32))
def test_lengths_have_their_mean(kind: str, mean: float, cv: float, seed: int) -> None:
    source, lengths = np.random.default_rng(seed), Lengths(kind, mean, cv)
    drawn = [lengths.draw(source) for _ in range(2000)]
    # 6 standard errors, rounding included; a draw below 1 counts as 1.
    assert statistics.fmean(drawn) == pytest.approx(mean, abs=6 * (cv * mean + 0.5) / 2000**0.5 + 0.1)


def test_lengths_are_cut_to_their_bounds() -> None:
    source, lengths = np.random.default_rng(0), Lengths(LOGNORMAL, 20, 2.0, 10, 30)
    drawn = {lengths.draw(source) for _ in range(1000)}
    assert min(drawn) == 10 and max(drawn) == 30


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no key 'name' in a MixProfile"),
        ({"parts": []}, "the profile p needs parts"),
        ({"parts": [{"name": "a"}]}, "no key 'input_tokens' in a MixPart"),
        ({"parts": [{"share": 0}]}, "share above 0"),
        ({"parts": [{"input_tokens": {"kind": "normal", "mean": 3}}]}, "not 'normal'"),
        ({"parts": [{"input_tokens": {"kind": "fixed", "mean": 0.5}}]}, "least <= mean"),
        ({"parts": [{"sampling": {"heat": 1}}]}, "not heat"),
    ],
)
def test_what_is_wrong_with_a_profile_is_one_line(tmp_path: Path, values: dict, words: str) -> None:
    part = {"name": "a", "share": 1, "input_tokens": {"kind": "fixed", "mean": 3}}
    part |= {"output_tokens": {"kind": "fixed", "mean": 3}}
    whole = {"schema": 1, "name": "p", "synthetic": True, "source": ""} if values else {"schema": 1}
    parts = [({**part, **each} if each != {"name": "a"} else each) for each in values.get("parts", [])]
    path = tmp_path / "mix_profile.json"
    path.write_text(json.dumps({**whole, **({"parts": parts} if values else {})}))
    with pytest.raises(EnginescopeError, match=words):
        read_profile(path)


def test_a_profile_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mix_profile.json"
    path.write_text('{"schema": 7}')
    with pytest.raises(EnginescopeError, match="has schema 7, this version reads 1"):
        read_profile(path)


def test_parts_are_drawn_in_proportion_whatever_their_sum() -> None:
    parts = (MixPart("a", 3, FIVE, FIVE), MixPart("b", 1, FIVE, FIVE))
    names = [item.part for item in islice(MixProfile("p", True, "", parts).draw(0), 4000)]
    assert names.count("a") == pytest.approx(3000, abs=150)
