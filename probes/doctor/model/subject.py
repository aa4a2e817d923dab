"""The model that is asked about: its configuration, the files of its weights, and how to get those that are missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.errors import EnginescopeError
from probes.hub.asking import ask_hub
from probes.hub.files import WeightFile, read_index, weight_files
from probes.hub.hubmodel import HubModel
from probes.hub.settings import HUGGINGFACE, MODELSCOPE, HubSettings, model_places
from probes.memory.footprint import summed, weights
from probes.memory.modelconfig import ModelConfig, model_config, read_config
from probes.privacy.secretvalues import blanked


@dataclass(frozen=True)
class Subject:
    """A model by its name: where it lies (None: not here), its files, and the bytes of its weights as vLLM loads them.

    vLLM loads float32 in two bytes unless told otherwise. None stands for what neither files nor hub say.
    """

    name: str
    folder: Path | None
    hub: HubModel
    config: ModelConfig
    files: tuple[WeightFile, ...]
    loaded_bytes: int | None
    parameters: int | None

    @property
    def is_complete(self) -> bool:
        """Whether its configuration is here, and every file of its weights, none cut off."""
        has_config = self.folder and (self.folder / "config.json").is_file()
        return bool(has_config and self.files and not self.bad_files())

    def bad_files(self) -> list[WeightFile]:
        """The files that are missing or cut off."""
        return [each for each in self.files if each.is_bad]


def subject(name: str, settings: HubSettings) -> Subject:
    """All that is known of a model; its hub is asked only where something is missing here.

    `EnginescopeError` for a path at which there is no folder.
    """
    folder = _folder(name, settings)
    own = Path(name).expanduser().is_dir()
    here = _subject(name, folder, HubModel("not asked", "it is a folder" if own else "all is here"))
    if here.is_complete or own:
        return here
    return _subject(name, folder, ask_hub(name, settings))


def _folder(name: str, settings: HubSettings) -> Path | None:
    own = Path(name).expanduser()
    if own.is_dir():
        return own
    if own.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise EnginescopeError(f"--model {name}: there is no such folder")
    return next((place for place in model_places(name, settings) if place.is_dir()), None)


def _subject(name: str, folder: Path | None, hub: HubModel) -> Subject:
    config = model_config(folder) if folder and (folder / "config.json").is_file() else read_config(hub.config)
    index = read_index(folder) or hub.index
    files = tuple(weight_files(folder, index, hub.sizes))
    bad = any(each.is_bad for each in files)
    by_header = weights(folder, "bfloat16" if config.is_narrowed else None) if folder and not bad else None
    if by_header:
        return Subject(name, folder, hub, config, files, by_header.loaded, by_header.parameters)
    stated = _stated_bytes(index, files)
    return Subject(name, folder, hub, config, files, stated // 2 if stated and config.is_narrowed else stated, None)


def _stated_bytes(index: object, files: Sequence[WeightFile]) -> int | None:
    """The weights' bytes as the index states them, else the sum of their files'; None where neither is known."""
    metadata = index.get("metadata") if isinstance(index, dict) else None
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, int | float):
        return int(total)
    sizes = [each.whole_bytes if each.whole_bytes is not None else each.here_bytes for each in files]
    return summed(sizes) if sizes else None


def getting(of: Subject, settings: HubSettings) -> list[str]:
    """The lines that get a hub's model, or the rest of it; [] where it is complete, or is a folder of the user's own.

    A file of the right name is taken for whole by a hub's client: one that is cut off goes first.
    """
    if of.is_complete or (of.folder and of.folder == Path(of.name).expanduser()) or of.hub.state == "unknown":
        return []
    name = shlex.quote(of.name)
    cut = [of.folder / each.name for each in of.files if of.folder and each.state == "truncated"]
    # In Hugging Face's cache a name is a link to a blob, which would be found again.
    removal = [f'rm -f "$(readlink -f {shlex.quote(str(path))})" {shlex.quote(str(path))}' for path in cut]
    gated = of.hub.state == "gated"
    if settings.uses_modelscope:
        login = ["modelscope login   # after access is granted on the model's page"] if gated else []
        mirror = _address("MODELSCOPE_ENDPOINT", settings.modelscope, MODELSCOPE)
        return [*removal, *login, f"{mirror}modelscope download --model {name}"]
    login = ["hf auth login   # after the terms are accepted on the model's page"] if gated else []
    online = "env -u HF_HUB_OFFLINE -u TRANSFORMERS_OFFLINE " if settings.offline else ""
    mirror = _address("HF_ENDPOINT", settings.endpoint, HUGGINGFACE)
    return [*removal, *login, f"{online}{mirror}hf download {name}"]


def _address(variable: str, address: str, usual: str) -> str:
    """The variable before a line that asks another hub than the usual one; its password is not repeated: where it is
    set, the line finds it."""
    known = address != usual and blanked(address) == address
    return f"{variable}={shlex.quote(address)} " if known else ""
