"""A hub asked for a model: Hugging Face's through huggingface_hub, which comes with vLLM and knows the token."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.hub.files import INDEX
from probes.hub.hubmodel import HubModel, ModelFile
from probes.hub.modelscope import ask_modelscope
from probes.hub.settings import HubSettings
from probes.privacy.secretvalues import blanked

TIMEOUT_S = 10


def ask_hub(name: str, settings: HubSettings) -> HubModel:
    """The hub's answer; nothing is written into the cache."""
    if settings.offline:
        return HubModel("not asked", "HF_HUB_OFFLINE is set")
    if settings.uses_modelscope:
        return ask_modelscope(name, settings.modelscope)
    try:
        import huggingface_hub.errors
    except ImportError:
        return HubModel("not asked", "huggingface_hub, which comes with vLLM, is not installed")
    return _ask(huggingface_hub, name, settings.endpoint)


def _ask(library: Any, name: str, endpoint: str) -> HubModel:  # `Any`: it comes with vLLM, or is not there
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


def _read(library: Any, name: str, file: str, endpoint: str, sizes: Mapping[str, int]) -> ModelFile:
    """A small file of the hub's; empty where the model has none."""
    if file not in sizes:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = library.hf_hub_download(name, file, endpoint=endpoint, cache_dir=folder)
        contents = json.loads(Path(path).read_text())
    return contents if isinstance(contents, dict) else {}
