"""Some of `tests/bench/claims.py`: changes to vLLM's small functions by chance, and what is said of their stops."""

from __future__ import annotations

from functools import cache

import pytest

from notes.walkthrough import chapters
from notes.walkthrough.claims import digests
from notes.walkthrough.claims.judgement import TO_FIX
from tests.needs import installed_vllm
from tests.notes.walkthrough.claims.mutants import neutral, semantic
from tests.notes.walkthrough.claims.mutants.mutant import judgements, mutants, touches

pytestmark = pytest.mark.slow(20)
STOPS = tuple(chapters.stops(chapters.read()))
SMALL = 60  # lines: a large function takes long to be changed, and the bench has those
EACH = 40  # changes of every kind, where there are so many
SEED = 7
LEAST = 200  # changes of meaning


@cache
def targets() -> tuple[str, ...]:
    """The small functions under `vllm.v1` that have a stop."""
    places = {stop.anchor.target: installed_vllm().find_place(stop.anchor.target) for stop in STOPS}
    return tuple(t for t, at in places.items() if at and at.last - at.first < SMALL and t.startswith("vllm.v1."))


def test_a_change_of_meaning_is_noticed_and_false_where_the_sentence_names_it() -> None:
    tree = installed_vllm()
    reading = digests.take(STOPS, tree)
    changes = mutants(tree, targets(), semantic.CHANGES, EACH, SEED)
    assert len(changes) >= LEAST
    hits, misses = 0, []
    for mutation in changes:
        for stop, judgement in judgements(mutation, STOPS, tree, reading):
            assert judgement.standing != "holds", (mutation.kind, mutation.target)
            if touches(mutation, stop, tree):
                hits += 1
                misses += [(mutation.kind, stop.name)] if judgement.standing not in TO_FIX else []
    assert hits >= 50 and len(misses) <= hits * 0.05, misses


def test_a_change_that_leaves_the_sentences_true_is_never_false() -> None:
    tree = installed_vllm()
    reading = digests.take(STOPS, tree)
    for mutation in mutants(tree, targets(), neutral.CHANGES, EACH, SEED):
        for stop, judgement in judgements(mutation, STOPS, tree, reading):
            assert judgement.standing in ("holds", "re-read"), (mutation.kind, stop.name, judgement.untrue)
