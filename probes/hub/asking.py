"""A hub asked for a model: through huggingface_hub, which comes with vLLM and knows the environment's token."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from probes.hub.files import INDEX
from probes.hub.settings import HubSettings
from probes.privacy.secretvalues import blanked

TIMEOUT_S = 10


@dataclass(frozen=True)
class HubModel:
    """What a hub says of a model: the bytes of its files, its config.json and its index; `why` where it says less."""

    state: Literal["there", "gated", "unknown", "not asked"]
    why: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)


def ask_hub(name: str, settings: HubSettings) -> HubModel:
    """The hub's answer; nothing is written into the cache."""
    if settings.uses_modelscope:
        return HubModel("not asked", "ModelScope is not asked")
    if settings.offline:
        return HubModel("not asked", "HF_HUB_OFFLINE is set")
    try:
        import huggingface_hub.errors
    except ImportError:
        return HubModel("not asked", "huggingface_hub, which comes with vLLM, is not installed")
    return _ask(huggingface_hub, name, settings.endpoint)


def _ask(library: Any, name: str, endpoint: str) -> HubModel:
    errors, shown = library.errors, blanked(endpoint)
    transport = errors.HfHubHTTPError.__mro__[1]  # its HTTP library's: where nobody answers, there is no other error
    try:
        info = library.HfApi(endpoint=endpoint).model_info(name, files_metadata=True, timeout=TIMEOUT_S)
    except errors.GatedRepoError:
        return HubModel("gated", "its terms are not accepted with this token")
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        return HubModel("unknown", f"{shown} has no such model, or it is private")
    except (OSError, transport) as error:
        return HubModel("not asked", f"{shown} does not answer ({type(error).__name__})")
    sizes = {each.rfilename: each.size for each in info.siblings or () if each.size is not None}
    try:
        config, index = (_read(library, name, file, endpoint, sizes) for file in ("config.json", INDEX))
    except errors.GatedRepoError:
        return HubModel("gated", "its terms are not accepted with this token", sizes)
    except (OSError, ValueError, transport) as error:
        return HubModel("there", f"its config.json could not be read ({type(error).__name__})", sizes)
    return HubModel("there", "", sizes, config, index)


def _read(library: Any, name: str, file: str, endpoint: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """A small file of the hub's; empty where the model has none."""
    if file not in sizes:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = library.hf_hub_download(name, file, endpoint=endpoint, cache_dir=folder)
        contents = json.loads(Path(path).read_text())
    return contents if isinstance(contents, dict) else {}
