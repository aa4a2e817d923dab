"""The tool calls of an answer, put together from the pieces of a stream."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asks for; `arguments` is JSON text as the server sent it, perhaps cut short."""

    name: str
    arguments: str


@dataclass(slots=True)
class _Draft:
    """A call as far as it has come."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ToolCalls:
    """Calls by the index that the server gives them; servers that give every call index 0 tell them apart by id.

    | pieces (index, id, name, arguments)                 | calls                |
    | --------------------------------------------------- | -------------------- |
    | (0, "a", "f", "") (0, None, None, "{}")             | f({})                |
    | (0, "a", "f", "{}") (0, "b", "g", "{}")             | f({}), g({})         |
    | (0, "a", "f", '{"x":') (1, "b", "g", "{}") (0, …1}) | f({"x":1}), g({})    |
    | (None, "", "f", {"x": 1})                           | f({"x": 1})          |
    """

    _drafts: list[_Draft] = field(default_factory=list)
    _by_index: dict[int | None, _Draft] = field(default_factory=dict)

    def take(self, pieces: object) -> bool:
        """Take in `tool_calls` (a list, or one object) of a message; whether it brought a name or arguments."""
        pieces = [pieces] if isinstance(pieces, dict) else pieces
        if not isinstance(pieces, list):
            return False
        return any([self._piece(piece) for piece in pieces if isinstance(piece, dict)])  # a list: all are taken in

    def calls(self) -> list[ToolCall]:
        """The calls in the order of their beginnings."""
        return [ToolCall(draft.name, "".join(draft.arguments)) for draft in self._drafts]

    def _piece(self, piece: dict[str, object]) -> bool:
        function = piece.get("function", piece)
        if not isinstance(function, dict):
            return False
        name, arguments = _text(function.get("name")), _text(function.get("arguments"))
        if not name and not arguments:
            return False
        index = piece.get("index")
        draft = self._draft(index if isinstance(index, int) else None, _text(piece.get("id")), name)
        draft.name = draft.name or name  # some servers repeat it in every piece
        if arguments:
            draft.arguments.append(arguments)
        return True

    def _draft(self, index: int | None, id: str, name: str) -> _Draft:
        draft = self._by_index.get(index)
        another = draft and ((id and draft.id and id != draft.id) or (name and draft.name and not id and index is None))
        if draft is None or another:
            draft = self._by_index[index] = _Draft()
            self._drafts.append(draft)
        draft.id = draft.id or id
        return draft


def _text(value: object) -> str:
    """A name, id or piece of arguments as text; some servers send the arguments as an object."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)
