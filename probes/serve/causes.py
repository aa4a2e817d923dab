"""What the log of a server that did not start may say: the likely cause, and what to try.

The patterns are of messages of vLLM 0.31 to 0.33, torch, transformers and the system.
"""

from __future__ import annotations

MORE_MEMORY = "a smaller --engine kv_cache_memory_bytes=N, a smaller model, or end what else runs"

# What the log says, else how the server ended (`exit code: -9`); the likely cause; what to try. The first row that
# matches speaks. {1} is its first group.
KNOWN = (
    (
        r"No module named '?vllm'?(?:$|[^.\w])|PackageNotFoundError: No package metadata was found for vllm",
        "vLLM is not installed in this Python",
        "make env, then .venv/bin/python -m probes.serve; python -m probes.doctor shows the rest",
    ),
    (
        r"operator torchvision::nms does not exist",
        "wrong build: a torchvision for another torch than the one installed",
        "pip uninstall torchvision torchaudio torchcodec; none of them is needed",
    ),
    (
        r"(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+'? not found",
        "wrong build: a package was built for a newer system than this one",
        "a newer system or container image; for GLIBCXX, a newer libstdc++ (conda install -c conda-forge libstdcxx-ng)",
    ),
    (
        r"Failed to infer device type|libcudart\S*: cannot open|libcuda\.so\S*: cannot open"
        r"|Torch not compiled with CUDA|no kernel image is available|HIP error: invalid device function"
        r"|No module named 'vllm\._C|vllm/_C\S*: undefined symbol",
        "wrong build: this vLLM or torch was built for another device or another torch than there is here",
        "python -m probes.doctor names the build; requirements/cpu.txt and gpu.txt are sets that fit together",
    ),
    (
        r"(?i)attempting to bind on address .*permission denied|(?m:PermissionError: \[Errno 13\] Permission denied$)",
        "port {port} is not for everybody: below 1024 only root may listen",
        "--port 8000, or any other from 1024 on",
    ),
    (
        r"PermissionError.*?(?:'| at )(/[^' ]+)",
        "this user may not read or write {1}",
        "chown it to this user; or put the caches into a folder of your own: HF_HOME=… for the hub's, "
        "VLLM_CACHE_ROOT=… for vLLM's",
    ),
    (
        r"(?i)address already in use",
        "port in use: {port}, {holder}",
        "end it, or take another: --port {other_port}",
    ),
    (
        r"RepositoryNotFoundError|Repository Not Found",
        "model not found: the hub has no model of this name (it answers 401 for a name that does not exist)",
        "check its name; for a private model, export HF_TOKEN=…",
    ),
    (
        r"gated repo|401 Client Error|403 Client Error",
        "the hub gives out this model only to users who have accepted its terms",
        "accept the model's terms there, then export HF_TOKEN=…",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "the hub's certificate is not trusted here: a proxy of this network, most often",
        "export REQUESTS_CA_BUNDLE=… and SSL_CERT_FILE=… (the proxy's certificate), or fetch the model elsewhere",
    ),
    (
        r"429 Client Error|Too Many Requests",
        "the hub gets too many requests from here and answers no more for a while",
        "wait some minutes, export HF_TOKEN=…, or fetch the model once and give its folder",
    ),
    (
        r"trust_remote_code=True",
        "the model brings code of its own, which vLLM does not run unasked",
        "read that code; then --engine trust_remote_code=true",
    ),
    (
        r"Repo id must be|is not a local folder and is not a valid model identifier"
        r"|LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to|Invalid repository ID or local directory"
        r"|Can't load the configuration|does not appear to have a file named config\.json"
        r"|Cannot find any model weights|Max retries exceeded",
        "model not found: it is neither a folder with a model here, nor could it be fetched from a hub",
        "check its name; leave MODEL out for the default model, which python -m probes.checkpoint unpacks",
    ),
    (
        r"is needed, which is larger than the available KV cache memory.*?(?:maximum model length is (\d+))",
        "out of memory: the KV cache has no room for one request of --max-len tokens",
        "--max-len {1}, or more memory for it: {more_kv}",
    ),
    (
        r"is needed, which is larger than the available KV cache memory",
        "out of memory: the KV cache has no room for one request of --max-len tokens",
        "a smaller --max-len, or more memory for it: {more_kv}",
    ),
    (
        r"No available memory for the cache blocks",
        "out of memory: the weights leave no room for a KV cache",
        "{more_kv}, or a smaller model or dtype, or more --gpus",
    ),
    (
        r"Free memory on device .*less than (?:desired GPU memory utilization|the engine's budget)",
        "out of memory: other processes hold part of the GPU's memory",
        "a lower --gpu-util, or end them: nvidia-smi (or amd-smi process) names them; python -m probes.doctor finds "
        "left-over engines",
    ),
    (
        r"Decrease --kv-cache-memory-bytes|on kv cache allocation is less than requested",
        "out of memory: less main memory is free than the KV cache needs",
        "a smaller --engine kv_cache_memory_bytes=N, or a smaller VLLM_CPU_KVCACHE_SPACE",
    ),
    (
        r"(?:CUDA|HIP) out of memory|torch\.OutOfMemoryError|(?:CUDA|HIP) error: out of memory",
        "out of memory on the GPU",
        "a smaller --max-len or --engine max_num_seqs=N first, then a lower --gpu-util, then more --gpus",
    ),
    (r"can't allocate memory|MemoryError|Cannot allocate memory|(?m:^Killed$)", "out of main memory", MORE_MEMORY),
    (
        r"max_model_len \(?\d+\)? is greater than the derived max_model_len \([^=]*=(\d+)",
        "--max-len is longer than the model was made for",
        "--max-len {1}",
    ),
    (
        r"World size \((\d+)\) is larger than the number of available GPUs|must be divisible by tensor parallel size",
        "--gpus does not fit: there are fewer GPUs, or it does not divide the model's heads",
        "another --gpus; python -m probes.machine lists the GPUs",
    ),
    (
        r"driver on your system is too old|CUDA driver version is insufficient|driver / cuda driver combination",
        "the NVIDIA driver is older than this build of torch needs",
        "a newer driver; or a vLLM built for the CUDA version that nvidia-smi names at its top",
    ),
    (
        r"No (?:CUDA|HIP) GPUs are available|Found no NVIDIA driver|CUDA unknown|CUDA driver initialization failed"
        r"|cudaGetDeviceCount",
        "no GPU can be used: its driver is not loaded or fails, or a variable such as CUDA_VISIBLE_DEVICES hides it",
        "python -m probes.doctor says what is there, nvidia-smi or amd-smi what the driver says",
    ),
    (
        r"Could not find nvcc|nvcc: not found|nvcc'?: No such file|directory: '(?:\S*/)?nvcc'"
        r"|CUDA_HOME environment variable is not set",
        "no nvcc: kernels that are built at the first start (FlashInfer's) need the CUDA toolkit",
        "install the toolkit of torch's CUDA version and export CUDA_HOME=…; or export VLLM_USE_FLASHINFER_SAMPLER=0",
    ),
    (
        r"Ninja build failed|Error building extension|Command '\['ninja'|directory: 'ninja'",
        "a kernel that has to be built at the first start could not be built",
        "read the compiler's messages in the log; python -m probes.doctor looks at the installation",
    ),
    (
        r"Failed to find C compiler|InvalidCxxCompiler|No working C\+\+ compiler"
        r"|No such file or directory: '(?:gcc|cc|g\+\+)'",
        "no C compiler: Triton and torch.compile need one at the start",
        "install gcc and g++ (Debian: apt-get install build-essential), or export CC=… and CXX=…",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "a disk is full: the hub's cache, vLLM's cache, /tmp or /dev/shm",
        "df -h names it; python -m probes.doctor looks at the disks; HF_HOME=… puts the hub's cache on another",
    ),
    (
        r"SafetensorError",
        "a file of the model is damaged, or was only half fetched",
        "delete the model's folder, or its entry in the hub's cache, and fetch it again",
    ),
    (
        r"NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclInternalError|ncclInvalidUsage",
        "NCCL failed: the GPUs cannot talk to each other",
        "export NCCL_DEBUG=INFO and read the log again; --gpus 1 shows whether one GPU works",
    ),
    (
        r"Transformers does not recognize this architecture|Unrecognized configuration class"
        r"|Tokenizer class \S+ does not exist",
        "the installed transformers is older than the model",
        "pip install --upgrade transformers, or a newer vLLM that asks for a newer one",
    ),
    (
        r"Should have a `model_type` key",
        "the model's config.json does not say what model it is (no model_type): no folder of a transformers model",
        "check that MODEL names a model's own folder, not an adapter's or the original weights'",
    ),
    (
        r"quantization method (\S+) is not supported for the current GPU",
        "this GPU is too old for the model's quantization ({1})",
        "the model in another quantization, or without one; the log names both compute capabilities",
    ),
    (
        r"only supported on GPUs with compute capability",
        "the model's dtype is too new for this GPU",
        "--engine dtype=half",
    ),
    (
        r"No common block size for \d+",
        "the attention backend does not take this block size",
        "leave --engine block_size out, or give a multiple of 32 on CPU",
    ),
    (
        r"Model architectures .* are not supported",
        "this vLLM does not know the model's architecture",
        "a newer vLLM, or another model",
    ),
    (
        r"Too many open files",
        "the limit of open files is too low",
        "ulimit -n 65535, then start it again in the same shell",
    ),
    (
        r"illegal memory access|device-side assert|unspecified launch failure",
        "a kernel failed on the GPU",
        "export CUDA_LAUNCH_BLOCKING=1 and start it with --engine enforce_eager=true: the log then names the operator",
    ),
    (
        r"unrecognized arguments: (.*)|error: argument (.*)",
        "vLLM does not take an --engine argument as given",
        "correct its spelling or value; python -m {program} --help=all lists them",
    ),
    (
        r"No module named '?(?:vllm\.vllm_)?flash_attn|not found in your environment: .*\bflash_attn\b",
        "flash_attn is not installed, and the model's own code or the attention backend asks for it",
        "pip install flash-attn --no-build-isolation (compiled here, up to an hour); or another model, or "
        "--engine attention_backend=TRITON_ATTN",
    ),
    (
        r"not found in your environment: .* Run `(pip install [^`]+)`",
        "the model's own code asks for packages that are not installed",
        "{1}",
    ),
    (
        r"No module named '([^'.]+)'",
        "a package is not installed in this Python: {1}",
        "pip install the package that has it; python -m probes.doctor looks at the installation",
    ),
    (
        r"Segmentation fault|Segfault encountered|(?:exit code|Failed core proc.*): -11\b",
        "a segmentation fault: compiled code of a build that does not fit, or a broken driver",
        "export PYTHONFAULTHANDLER=1 and start it again: the log then names the function; python -m probes.doctor "
        "looks at the installation",
    ),
    (
        r"Illegal instruction|(?:exit code|Failed core proc.*): -4\b",
        "wrong build: compiled for a processor with other instructions than this one (AVX-512, most often)",
        "python -m probes.machine lists what this one has; build vLLM here, or take a build for AVX2",
    ),
    (
        r"(?:exit code|Failed core proc.*): -9\b",
        "out of main memory: the system killed a process of the engine (dmesg says so), or someone did",
        MORE_MEMORY,
    ),
)
