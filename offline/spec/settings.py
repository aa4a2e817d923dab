"""Engine arguments, as they are handed to vLLM: a mapping, since their names and types are vLLM's own."""

from __future__ import annotations

from typing import Any

EngineSettings = dict[str, Any]  # the value of each engine argument, by name
EngineAxes = dict[str, list[Any]]  # the values that each one takes
SpecValues = dict[str, Any]  # the keys of a spec file or of flags, not checked yet
