"""All causes, in the order in which they are shown; a line speaks for one of them at most."""

from __future__ import annotations

from probes.serve.faults.causes.builds import BUILDS
from probes.serve.faults.causes.distributed import DISTRIBUTED
from probes.serve.faults.causes.kernels import KERNELS
from probes.serve.faults.causes.memory import MEMORY
from probes.serve.faults.causes.models import MODELS
from probes.serve.faults.causes.settings import SETTINGS
from probes.serve.faults.causes.system import SYSTEM

FIELDS = {
    "Memory": MEMORY,
    "Model, hub, tokenizer": MODELS,
    "Settings, quantization, attention": SETTINGS,
    "Builds, drivers, GPUs": BUILDS,
    "Kernels": KERNELS,
    "Several processes, cards, machines": DISTRIBUTED,
    "Machine, container, Python": SYSTEM,
}
CAUSES = tuple(cause for field in FIELDS.values() for cause in field)
