"""The dashboard against Grafana's published schema: by the types that Grafana Labs generate from it for Python."""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any

import pytest

from probes.metrics.grafana.dashboard import dashboard

models = pytest.importorskip("grafana_foundation_sdk.models.dashboard")


def parsed(board: dict[str, Any]) -> Any:
    """The dashboard as Grafana's types; those of its panels' options and of Prometheus' queries too."""
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()
    return models.Dashboard.from_json(board)


def encoded(value: Any) -> Any:
    """JSON's values again, of the types' own encoding."""
    if hasattr(value, "to_json"):
        return encoded(value.to_json())
    if isinstance(value, dict):
        return {key: encoded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [encoded(each) for each in value]
    return value.value if isinstance(value, enum.Enum) else value


def lost(board: Any, copy: Any, place: str = "") -> Iterator[str]:
    """What of the first the second does not have: fields that the schema does not know, or has otherwise."""
    if isinstance(board, dict) and isinstance(copy, dict):
        for key, value in board.items():
            yield from lost(value, copy.get(key, "nothing"), f"{place}.{key}")
    elif isinstance(board, list) and isinstance(copy, list) and len(board) == len(copy):
        for at, (one, other) in enumerate(zip(board, copy, strict=True)):
            yield from lost(one, other, f"{place}[{at}]")
    elif board != copy:
        yield f"{place}: {board!r} is {copy!r}"


def mistyped(value: Any, hint: Any, place: str = "") -> Iterator[str]:
    """The places whose values are not of the schema's types; generated classes do not look at what they are given."""
    if not fits(value, hint):
        yield f"{place}: {value!r} is no {hint}"
    elif isinstance(value, list):
        inner = next((each for each in alternatives(hint) if typing.get_origin(each) is list), list[Any])
        for at, each in enumerate(value):
            yield from mistyped(each, (typing.get_args(inner) or (Any,))[0], f"{place}[{at}]")
    elif hasattr(value, "to_json"):
        for name, own in typing.get_type_hints(type(value)).items():
            yield from mistyped(getattr(value, name), own, f"{place}.{name}")


def alternatives(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return [each for part in typing.get_args(hint) for each in alternatives(part)]
    return [hint]


def fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, each) for each in alternatives(hint))


def _fits_one(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint in (Any, object):
        return True
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if isinstance(hint, enum.EnumType):
        return value in [each.value for each in hint]
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def faults(board: dict[str, Any]) -> list[str]:
    try:
        whole = parsed(board)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"refused: {error!r}"]
    return [*lost(board, encoded(whole)), *mistyped(whole, models.Dashboard)]


def test_the_dashboard_is_of_grafanas_schema() -> None:
    assert faults(dashboard()) == []
    panel = parsed(dashboard()).panels[0]
    modules = [type(each).__module__.rpartition(".")[2] for each in (panel.options, panel.targets[0])]
    assert modules == ["timeseries", "prometheus"]


def damaged(place: str, value: Any) -> dict[str, Any]:
    """The dashboard with one value in another's place."""
    board: Any = dashboard()
    *above, last = [int(word) if word.isdigit() else word for word in place.split(".")]
    part = board
    for word in above:
        part = part[word]
    part[last] = value
    return board


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("refreshEvery", "5s"),
        ("editable", "yes"),
        ("panels.0.gridPos.w", "8"),
        ("panels.0.gridPos.width", 8),
        ("panels.0.options.legend.placement", "below"),
        ("panels.0.options.legends", {}),
        ("panels.0.fieldConfig.defaults.min", "0"),
        ("panels.0.fieldConfig.defaults.custom.fillOpacity", "10"),
        ("panels.0.targets.0.query", "up"),
        ("templating.list.1.type", "queries"),
        ("templating.list.1.refresh", 7),
    ],
)
def test_what_is_not_of_the_schema_is_found(place: str, value: Any) -> None:
    assert faults(damaged(place, value))
