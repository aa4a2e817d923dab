"""Calls of another version's shape: whatever a wrapper does not know of them, the engine has its answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tracing.hooks.eventrecords import written
from tracing.hooks import _recorder
from tracing.hooks.wrappers import table
from tracing.hooks.wrappers.scopes import scoped
from tracing.sites.engine import SITES
from tracing.sites.site import Site

PLAIN = [site for site in SITES if site.kind in ("function", "static") and site.name != "collective"]  # torch's


@pytest.fixture(autouse=True)
def events() -> Iterator[Path]:
    with written(most=1 << 17) as path:
        yield path
    _recorder.set_step(-1)


@pytest.mark.parametrize("site", PLAIN, ids=lambda site: site.name)
def test_an_answer_is_the_functions(site: Site) -> None:
    hooked = table.wrapper_of(site)(lambda *args, **kwargs: "answer")
    owner = [] if site.kind == "static" else [object()]
    assert hooked(*owner, strange=1) == "answer"
    assert hooked(*owner, object(), object(), object(), object()) == "answer"


@pytest.mark.parametrize("site", PLAIN, ids=lambda site: site.name)
def test_an_error_is_the_functions(site: Site) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise KeyError("of the engine")

    owner = [] if site.kind == "static" else [object()]
    with pytest.raises(KeyError, match="of the engine"):
        table.wrapper_of(site)(refused)(*owner, strange=1)


def test_a_scope_with_more_arguments_is_entered() -> None:
    @contextmanager
    def scope(name: str = "", color: str = "") -> Iterator[str]:
        yield f"{name} {color}"

    hooked = scoped(scope)
    with hooked("forward", color="red") as first, hooked(name="forward") as second:
        assert (first, second) == ("forward red", "forward ")
