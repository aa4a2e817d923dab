"""The models of a sweep: one, or several as an axis, each with the number of cards that it is declared to run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline.spec import model
from offline.spec.model import ModelMark
from offline.spec.settings import EngineSettings
from probes.errors import usage_error
from probes.privacy.home import tilde


@dataclass(frozen=True)
class Models:
    """Where each model is, a folder or a hub id, by its label, in the order asked."""

    places: dict[str, Path | str]

    def of(self, settings: EngineSettings) -> Path | str:
        """The model of an arm's settings."""
        return self.places[settings["model"]]

    @property
    def label(self) -> str:
        """`A+B`."""
        return "+".join(self.places)

    @property
    def path_text(self) -> str:
        """Their places as `run.json` has them, with commas between: the home is written as `~`."""
        return ",".join(tilde(str(place)) if isinstance(place, Path) else place for place in self.places.values())

    def mark(self) -> ModelMark:
        """What tells them from others of the same names; of several, their marks in one."""
        marks = {name: model.mark(place) for name, place in self.places.items()}
        if len(marks) == 1:
            return next(iter(marks.values()))
        hubs, configs = ([mark.hub for mark in marks.values()], [mark.config_sha256 for mark in marks.values()])
        sizes = {f"{name}/{file}": size for name, mark in marks.items() for file, size in _sizes(mark).items()}
        return ModelMark("+".join(filter(None, hubs)) or None, "+".join(filter(None, configs)) or None, sizes or None)


def _sizes(mark: ModelMark) -> dict[str, int]:
    return mark.weights_bytes or {}


def find_models(names: str, load_format: str, cards: Sequence[int] = ()) -> Models:
    """The models of `--model`, looked at; two of one name are refused, since a table could not tell them apart.

    So are `cards` that are not one number a model.
    """
    places = [model.find(name, load_format) for name in _split(names)]
    labels = [model.label(place) for place in places]
    for label in labels:
        if labels.count(label) > 1:
            raise usage_error(f"--model names {label} twice; the last part of a folder or hub id is its name")
    if cards and len(cards) != len(labels):
        raise usage_error(f"--cards has {len(cards)} numbers for {len(labels)} models: give one for each")
    return Models(dict(zip(labels, places, strict=True)))


def _split(names: str) -> list[str]:
    """The names between commas; a folder may have some in its own."""
    return [names] if Path(names).expanduser().exists() else [name.strip() for name in names.split(",")]


def recorded_models(path_text: str) -> Models:
    """The models of a run on disk; `FileNotFoundError` names a folder that is gone."""
    return Models({model.label(place): place for place in map(recorded_model, _split(path_text))})


def recorded_model(name: str) -> Path | str:
    """One of them."""
    place = Path(name).expanduser() if name.startswith(("/", "~")) else name
    if isinstance(place, Path) and not (place / "config.json").is_file():
        raise FileNotFoundError(place)
    return place
