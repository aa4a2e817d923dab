"""The baseline from its settings, as a variant names them; importing this imports torch and transformers."""

from __future__ import annotations

from pathlib import Path

from offline.spec.settings import EngineSettings
from offline.torchbaseline.batch import BatchLimits
from offline.torchbaseline.continuous import ContinuousServing
from offline.torchbaseline.model import TorchModel
from offline.torchbaseline.serving import TorchServing
from offline.variants.serving import Serving
from probes.errors import usage_error

BATCHINGS = ("static", "continuous")
SETTINGS = ("model", "dtype", "batching", "max_batch_size", "max_batch_bytes", "batch_wait_s")


def start_serving(settings: EngineSettings) -> Serving:
    """Load a model and serve it.

    `model` is its folder, `dtype` float32 where nothing else is said, `batching` static or continuous (transformers'
    own), `max_batch_size` requests, `max_batch_bytes` memory beside the weights, `batch_wait_s` the wait of the first
    request for others.
    """
    if unknown := sorted(settings.keys() - set(SETTINGS)):
        raise usage_error(f"the torch baseline has no setting {unknown[0]}; it has {', '.join(SETTINGS)}")
    batching, default = settings.get("batching", "static"), BatchLimits()
    if batching not in BATCHINGS:
        raise usage_error(f"batching is one of {', '.join(BATCHINGS)}, not {batching}")
    limits = BatchLimits(
        int(settings.get("max_batch_size", default.most_rows)),
        int(settings.get("max_batch_bytes", default.most_bytes)),
        float(settings.get("batch_wait_s", default.wait_s)),
    )
    model = TorchModel(Path(settings["model"]), str(settings.get("dtype", "float32")))
    return ContinuousServing(model, limits) if batching == "continuous" else TorchServing(model, limits)
