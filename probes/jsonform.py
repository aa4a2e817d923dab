"""Records to and from JSON: dataclasses by their type hints, in one place."""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

T = TypeVar("T")


class Malformed(ValueError):
    """JSON that does not hold the record asked for."""


def read_record(cls: type[T], values: Mapping[str, Any]) -> T:  # `Any`: what JSON holds
    """A dataclass from its JSON form; `Malformed` names a key that is missing or unknown."""
    hints, needed = _hints(cls)  # type: ignore[arg-type]  # a class can be hashed
    for name in sorted((needed - values.keys()) | (values.keys() - hints.keys())):
        raise Malformed(f"{'no' if name in hints else 'unknown'} key {name!r} in a {cls.__name__}")
    return cls(**{name: _read(hints[name], value) for name, value in values.items()})


def known_fields(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:  # `Any`: what JSON holds, and any dataclass
    """What of a JSON form a dataclass has a field for: of one that another version wrote, which may say more."""
    return {each.name: values[each.name] for each in fields(cls) if each.name in values}


def _read(hint: Any, value: Any) -> Any:  # of the type that the hint says
    if value is None:
        return None
    if get_origin(hint) in (Union, types.UnionType):
        return _read(next(part for part in get_args(hint) if part is not type(None)), value)
    if is_dataclass(hint):
        return read_record(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        return tuple(_read(get_args(hint)[0], part) for part in value)
    if get_origin(hint) is dict:
        return {key: _read(get_args(hint)[1], part) for key, part in value.items()}
    return value


@functools.cache
def _hints(cls: Any) -> tuple[dict[str, Any], set[str]]:  # hints have no common type
    """The fields' types, and the names of those without a default."""
    hints = get_type_hints(cls)
    every = fields(cls)
    needed = {each.name for each in every if each.default is MISSING and each.default_factory is MISSING}
    return {each.name: hints[each.name] for each in every}, needed


def encoded(value: object) -> bytes:
    """A record, or a message to a server, as JSON without a space or a newline, in UTF-8."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # half a surrogate pair in a text, or a number beyond 64 bits
        return json.dumps(value, default=asdict, separators=(",", ":")).encode()
