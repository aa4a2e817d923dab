"""Causes: kernels that cannot be built or compiled here, or that fail."""

from __future__ import annotations

from probes.serve.faults.causes.faultcause import FaultCause

KERNELS = (
    FaultCause(
        r"Could not find nvcc|nvcc: not found|nvcc'?: No such file|directory: '(?:\S*/)?nvcc'"
        r"|CUDA_HOME environment variable is not set",
        "no nvcc: kernels that are built at the first start (FlashInfer's) need the CUDA toolkit",
        "install the toolkit of torch's CUDA version and export CUDA_HOME=…; or export VLLM_USE_FLASHINFER_SAMPLER=0",
        "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.",
        "torch/utils/cpp_extension.py",
    ),
    FaultCause(
        r"flashinfer-(?:cubin|jit-cache) version .* does not match",
        "FlashInfer's packages are of different versions",
        "pip install flashinfer-cubin==X with the X of pip show flashinfer-python; or uninstall flashinfer-cubin",
        "RuntimeError: flashinfer-cubin version (0.6.13) does not match flashinfer version (0.6.14). Please install "
        "the same version of both packages.",
        "vllm-project/vllm#49804",
    ),
    FaultCause(
        r"ptxas fatal|is not defined for option 'gpu-name'",
        "Triton's own ptxas is older than this GPU",
        "export TRITON_PTXAS_PATH=/usr/local/cuda/bin/ptxas, of a CUDA toolkit that knows the GPU",
        "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'",
        "triton-lang/triton#8539",
    ),
    FaultCause(
        r"fatal error: Python\.h",
        "Python's headers are missing: Triton compiles a launcher against them",
        "apt-get install python3-dev (of the Python's own version: python3.12-dev)",
        "/tmp/tmp_bcihhdm/main.c:5:10: fatal error: Python.h: No such file or directory",
        "vllm-project/vllm#27890",
    ),
    FaultCause(
        r"Failed to find C compiler|InvalidCxxCompiler|No working C\+\+ compiler"
        r"|No such file or directory: '(?:gcc|cc|g\+\+)'",
        "no C compiler: Triton and torch.compile need one at the start",
        "install gcc and g++ (Debian: apt-get install build-essential), or export CC=… and CXX=…",
        "RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set "
        "triton.knobs.build.impl.",
        "triton/runtime/build.py",
    ),
    FaultCause(
        r"Ninja build failed|Error building extension|Command '\['ninja'|directory: 'ninja'",
        "a kernel that has to be built at the first start could not be built",
        "read the compiler's messages in the log; python -m probes.doctor looks at the installation",
        "RuntimeError: Error building extension 'sampling'",
        "torch/utils/cpp_extension.py",
        general=True,
    ),
    FaultCause(
        r"Model Runner V2 requires Triton",
        "this platform has no Triton, which the second model runner needs",
        "export VLLM_USE_V2_MODEL_RUNNER=0",
        "ValueError: Model Runner V2 requires Triton.",
        "vllm/config/vllm.py",
    ),
    FaultCause(
        r"illegal memory access|device-side assert|unspecified launch failure|Memory access fault by GPU",
        "a kernel failed on the GPU",
        "export CUDA_LAUNCH_BLOCKING=1 (AMD: HIP_LAUNCH_BLOCKING=1) and start it with --enforce-eager: the log then "
        "names the operator",
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        "torch, compiled",
    ),
    FaultCause(
        r"'_OpNamespace' '(?:_C|_moe_C|_rocm_C|_C_cache_ops)\w*'",
        "wrong build: vLLM's compiled operators were not loaded, for another torch, CUDA or device than there is",
        "look for `Failed to import from vllm._C` further up; python -m probes.doctor names the build; install the "
        "vLLM that fits",
        "AttributeError: '_OpNamespace' '_C' object has no attribute 'rms_norm'",
        "torch/_ops.py",
    ),
    FaultCause(
        r"CUBLAS_STATUS_(?:INVALID_VALUE|EXECUTION_FAILED|INTERNAL_ERROR|NOT_SUPPORTED|ARCH_MISMATCH)|CUDNN_STATUS_",
        "a CUDA library fails: another version than torch's is found first, or a kernel before it failed",
        "unset LD_LIBRARY_PATH; else export CUDA_LAUNCH_BLOCKING=1 and start it with --enforce-eager",
        "RuntimeError: CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasGemmEx`",
        "torch, compiled",
    ),
    FaultCause(
        r"out of resource: ",
        "a Triton kernel needs more of the GPU's shared memory or registers than this GPU has",
        "a newer vLLM, whose kernels know this GPU; --attention-backend=FLASHINFER or another; --enforce-eager shows "
        "whether compiling is at fault",
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 131072, Hardware limit: "
        "101376. Reducing block sizes",
        "triton/runtime/errors.py",
    ),
    FaultCause(
        r"kv_cache_dtype=\S+ is incompatible with dtype=|kv-cache-dtype \S+ is not supported by",
        "the KV cache cannot have this dtype beside the model's, or on this device",
        "leave --kv-cache-dtype out: the cache then has the model's own",
        'ValueError: kv_cache_dtype="float16" is incompatible with dtype="bfloat16". Please set `--kv-cache-dtype` to '
        "`auto` or `bfloat16`.",
        "vllm/config/vllm.py",
        versions=">=0.33",
    ),
    FaultCause(
        r"PassManager::run failed|LLVM ERROR: ",
        "Triton cannot compile a kernel for this GPU: it is too old for it (compute capability below 8), most often",
        "--dtype=half; an older vLLM, or a newer GPU",
        "RuntimeError: PassManager::run failed",
        "vllm-project/vllm#19215",
    ),
    FaultCause(
        r"torch\._(?:dynamo|inductor)\.exc\.(?!\w+: RuntimeError: Failed to find C)|BackendCompilerFailed",
        "torch.compile failed on the model",
        "--enforce-eager does without; rm -r ~/.cache/vllm/torch_compile_cache where an update came between",
        "torch._dynamo.exc.BackendCompilerFailed: backend='<vllm.compilation.backends.VllmBackend object at 0x7f>' "
        "raised:",
        "torch/_dynamo/exc.py",
        general=True,
    ),
)
