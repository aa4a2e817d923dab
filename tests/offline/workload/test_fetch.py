"""Public sets, fetched from a hub on this machine: followed, checked, kept, and told in one line where none answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.workload.fetch import SETS, PublicSet, fetch
from probes.errors import EnginescopeError
from tests.offline.workload.hub import Hub, serving_hub

SMALL = PublicSet("org/set", "other/set", "set.json", 2)
ON_HUB, ON_MODELSCOPE = "/datasets/org/set/resolve/main/set.json", "/datasets/other/set/resolve/master/set.json"
TWO = json.dumps([{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]).encode()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def ask(tmp_path: Path) -> Callable[[Hub], Path]:
    """Fetches the small set from a hub, which stands for both addresses."""

    def fetched(hub: Hub) -> Path:
        with serving_hub(hub) as url:
            environ = {"HF_ENDPOINT": url, "MODELSCOPE_ENDPOINT": url, "HF_HOME": str(tmp_path / "home")}
            return fetch(SMALL, lambda _: None, environ)

    return fetched


def test_a_file_is_fetched_through_the_redirect_and_kept(ask: Callable[[Hub], Path]) -> None:
    hub = Hub({ON_HUB: TWO})
    path = ask(hub)
    assert path.read_bytes() == TWO and path.name == "set.json"
    assert hub.asked == [f"HEAD {ON_HUB}", f"GET {ON_HUB}", f"GET /blob{ON_HUB}"]
    assert ask(hub) == path and len(hub.asked) == 3


def test_modelscope_is_asked_where_the_hub_has_it_not(ask: Callable[[Hub], Path]) -> None:
    assert ask(Hub({ON_MODELSCOPE: TWO})).read_bytes() == TWO


def test_what_the_hubs_own_cache_has_is_not_fetched(tmp_path: Path, ask: Callable[[Hub], Path]) -> None:
    cached = tmp_path / "home" / "hub" / "datasets--org--set" / "snapshots" / "abc" / "set.json"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(TWO)
    hub = Hub({})
    assert ask(hub) == cached and hub.asked == []


@pytest.mark.parametrize(
    ("hub", "words"),
    [
        (Hub({}), "HTTP 404"),
        (Hub({ON_HUB: TWO}, digest="0" * 64), "and the hub names 000000000000…"),
        (Hub({ON_HUB: TWO}, cut=True), "37 bytes came of 74"),
        (Hub({ON_HUB: TWO[:-1] + b",1"}), "not a valid JSON array"),
        (Hub({ON_HUB: TWO.replace(b'"c"', b'" "')}), "1 prompts, and the set has at least 2"),
    ],
    ids=["missing", "digest", "cut", "damaged", "few"],
)
def test_what_is_not_the_set_is_not_kept(tmp_path: Path, ask: Callable[[Hub], Path], hub: Hub, words: str) -> None:
    with pytest.raises(EnginescopeError, match=r"no hub gave set\.json") as error:
        ask(hub)
    assert words in str(error.value) and "set HF_ENDPOINT to a mirror" in str(error.value)
    assert list((tmp_path / "cache" / "datasets").iterdir()) == []


def test_no_network_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    environ = {"HF_ENDPOINT": nowhere, "MODELSCOPE_ENDPOINT": nowhere, "HF_HOME": str(tmp_path)}
    with pytest.raises(EnginescopeError, match=r"127\.0\.0\.1:9.*refused.*copy it here and name it with --workload"):
        fetch(SETS["sharegpt"], lambda _: None, environ)
