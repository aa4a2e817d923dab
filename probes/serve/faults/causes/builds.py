"""Causes: builds that do not fit each other or the machine, drivers, GPUs that cannot be used."""

from __future__ import annotations

from probes.serve.faults.causes.faultcause import FaultCause

BUILDS = (
    FaultCause(
        r"operator torchvision::nms does not exist",
        "wrong build: a torchvision for another torch than the one installed",
        "pip uninstall torchvision torchaudio torchcodec; none of them is needed",
        "RuntimeError: operator torchvision::nms does not exist",
        "torch, compiled",
    ),
    FaultCause(
        r"(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+'? not found",
        "wrong build: a package was built for a newer system than this one",
        "a newer system or container image; for GLIBCXX, a newer libstdc++ (conda install -c conda-forge libstdcxx-ng)",
        "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found",
        "Linux",
    ),
    FaultCause(
        r"Failed to infer device type|lib(?:cudart|cuda|amdhip64|hsa-runtime64)\S*: cannot open"
        r"|No module named 'vllm\._"
        r"|Torch not compiled with CUDA",
        "wrong build: this vLLM or torch was built for another device than there is here, or the container has none",
        "python -m probes.doctor names the build; requirements/cpu.txt and gpu.txt are sets that fit together; a "
        "container needs --gpus all (AMD: --device /dev/kfd --device /dev/dri)",
        "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`",
        "vllm/config/device.py",
    ),
    FaultCause(
        r"undefined symbol",
        "wrong build: compiled against another torch than the one installed",
        "install the torch that this vLLM pins (pip install vllm==… again, without changing torch), and build "
        "flash-attn or your own extensions anew",
        "ImportError: /venv/lib/python3.12/site-packages/vllm/_C.abi3.so: undefined symbol: "
        "_ZN3c106ivalue14ConstantString6createENSt7",
        "vllm-project/vllm#21226",
    ),
    FaultCause(
        r"no kernel image is available|invalid device function|hipErrorNoBinaryForGpu|Error: no kernel image",
        "wrong build: it has no kernels for this GPU's architecture",
        "a build that lists it, or a newer vLLM; python -m probes.doctor names the build, rocminfo an AMD card's gfx "
        "number",
        "RuntimeError: HIP error: invalid device function",
        "ROCm/legacy-rocm-build#5668",
    ),
    FaultCause(
        r"Inconsistent GPU visibility env vars",
        "HIP_VISIBLE_DEVICES and CUDA_VISIBLE_DEVICES name different cards",
        "unset CUDA_VISIBLE_DEVICES (on AMD, HIP_VISIBLE_DEVICES is enough)",
        "ValueError: Inconsistent GPU visibility env vars: HIP_VISIBLE_DEVICES='0,1' vs CUDA_VISIBLE_DEVICES='0'. "
        "Please set only one, or ensure they match.",
        "vllm/platforms/rocm.py",
    ),
    FaultCause(
        r"/dev/kfd",
        "this user may not use the AMD GPUs, or the container does not have them",
        "docker run --device /dev/kfd --device /dev/dri --group-add video --group-add render …",
        "Unable to open /dev/kfd read-write: Permission denied",
        "ROCm/ROCm-docker#116",
    ),
    FaultCause(
        r"driver on your system is too old|CUDA driver version is insufficient|driver / cuda driver combination"
        r"|forward compatibility was attempted",
        "the NVIDIA driver is older than this build of torch needs",
        "a newer driver; or a vLLM built for the CUDA version that nvidia-smi names at its top",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update your GPU "
        "driver",
        "torch, compiled",
    ),
    FaultCause(
        r"system not yet initialized",
        "the cards are not ready: cards with NVSwitch need the fabric manager, of the driver's own version",
        "sudo systemctl start nvidia-fabricmanager; nvidia-smi -q -i 0 | grep -A2 Fabric then says Completed",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
        "NumCudaDevices() that might have already set an error? Error 802: system not yet initialized",
        "MiniMax-AI/MiniMax-M2.5#9",
    ),
    FaultCause(
        r"busy or unavailable",
        "another process has this card for itself (compute mode Exclusive), or the driver refuses new ones",
        "nvidia-smi -q -d COMPUTE names the mode; sudo nvidia-smi -c DEFAULT, or end the other process",
        "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "hiyouga/LlamaFactory#10240",
    ),
    FaultCause(
        r"uncorrectable ECC error|GPU has fallen off the bus|GPU is lost",
        "a card is broken, or has to be reset",
        "nvidia-smi -q -d ECC and dmesg | grep -i xid name it; leave it out with CUDA_VISIBLE_DEVICES=…, reset or "
        "replace it",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "vllm-project/vllm#5222",
    ),
    FaultCause(
        r"invalid device ordinal|Invalid device id|--device-ids index \d+ is out of range",
        "a card is asked for that is not visible here",
        "nvidia-smi -L and CUDA_VISIBLE_DEVICES name what is; then a smaller --tensor-parallel-size",
        "ValueError: --device-ids index 2 is out of range for CUDA_VISIBLE_DEVICES=0,1 (2 devices visible)",
        "vllm/engine/arg_utils.py",
    ),
    FaultCause(
        r"No (?:CUDA|HIP) GPUs are available|Found no NVIDIA driver|CUDA unknown|CUDA driver initialization failed"
        r"|cudaGetDeviceCount\(\)(?!.*(?:not yet initialized|driver combination|forward compat))",
        "no GPU can be used: its driver is not loaded or fails, or a variable such as CUDA_VISIBLE_DEVICES hides it",
        "python -m probes.doctor says what is there, nvidia-smi or amd-smi what the driver says; a container needs "
        "--gpus all (AMD: --device /dev/kfd --device /dev/dri)",
        "RuntimeError: No HIP GPUs are available",
        "torch, compiled",
    ),
    FaultCause(
        r"Detected different devices in the system",
        "the cards are not all of one kind: CUDA's numbers may not be those of nvidia-smi, and the smallest card sets "
        "the memory of all",
        "export CUDA_DEVICE_ORDER=PCI_BUS_ID, and CUDA_VISIBLE_DEVICES=… with cards of one kind",
        "Detected different devices in the system: NVIDIA A100, NVIDIA T4. Please make sure to set "
        "`CUDA_DEVICE_ORDER=PCI_BUS_ID` to avoid unexpected behavior.",
        "vllm/platforms/cuda.py",
        general=True,
    ),
    FaultCause(
        r"Only one platform plugin can be activated",
        "two builds of vLLM, or two of its platform plugins, are installed side by side",
        "pip list | grep -i vllm, and uninstall all but one; or VLLM_PLUGINS=… names the one to load",
        "RuntimeError: Only one platform plugin can be activated, but got: ['cuda', 'rocm']",
        "vllm/platforms/__init__.py",
    ),
    FaultCause(
        r"Cannot re-initialize CUDA in forked subprocess",
        "something used the GPU before vLLM forked its processes",
        "export VLLM_WORKER_MULTIPROC_METHOD=spawn",
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use "
        "the 'spawn' start method",
        "torch/cuda/__init__.py",
    ),
    FaultCause(
        r"No module named '?(?:vllm\.vllm_)?flash_attn|not found in your environment: .*\bflash_attn\b",
        "flash_attn is not installed, and the model's own code or the attention backend asks for it",
        "pip install flash-attn --no-build-isolation (compiled here, up to an hour); or another model, or "
        "--attention-backend=TRITON_ATTN",
        "ModuleNotFoundError: No module named 'flash_attn'",
        "Python",
    ),
    FaultCause(
        r"Driver/library version mismatch|NVMLError|NVML Shared Library Not Found|Can't initialize NVML",
        "the NVIDIA driver's kernel module and its library are of different versions, or the library is missing",
        "restart the machine after a driver's update (nvidia-smi fails the same way); a container needs --gpus all",
        "Failed to initialize NVML: Driver/library version mismatch",
        "tinygrad/open-gpu-kernel-modules#47",
    ),
    FaultCause(
        r"^(?:ImportError: |OSError: )?(lib(?!cuda|cudart|amdhip64"
        r"|hsa-runtime64)[\w+-]+\.so[\d.]*): cannot open shared object",
        "a system library is missing: {1}",
        "install the package that has it (apt-file search {1}); CUDA's own libraries come with torch: unset "
        "LD_LIBRARY_PATH",
        "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory",
        "Linux",
    ),
    FaultCause(
        r"invalid literal for int\(\) with base 10: '(?:MIG|GPU)-",
        "CUDA_VISIBLE_DEVICES names cards by UUID, which this vLLM does not read",
        "export CUDA_VISIBLE_DEVICES=0 (the number from nvidia-smi -L), or a newer vLLM",
        "ValueError: invalid literal for int() with base 10: 'MIG-1b2c'",
        "Python",
    ),
)
