"""Causes: the machine, the container, the Python that the server was started in."""

from __future__ import annotations

from probes.serve.faults.causes.faultcause import FaultCause

SYSTEM = (
    FaultCause(
        r"No module named '?vllm'?(?:$|[^.\w])|PackageNotFoundError: No package metadata was found for vllm",
        "vLLM is not installed in this Python",
        "make env, then .venv/bin/python -m probes.serve; python -m probes.doctor shows the rest",
        "ModuleNotFoundError: No module named 'vllm'",
        "Python",
    ),
    FaultCause(
        r"(?i)attempting to bind on address .*permission denied|(?:PermissionError: \[Errno 13\] Permission denied$)",
        "{port} is a privileged port: below 1024 only root may listen",
        "--port 8000, or any other from 1024 on",
        "PermissionError: [Errno 13] Permission denied",
        "Python",
    ),
    FaultCause(
        r"PermissionError.*?(?:'| at )(/[^' ]+)|Read-only file system: '([^']+)",
        "this user may not write {1}",
        "chown it to this user; or put the caches into a folder of your own: HF_HOME=… for the hub's, "
        "VLLM_CACHE_ROOT=… for vLLM's",
        "OSError: PermissionError at /root/.cache/huggingface/hub when downloading a/b. Check cache directory "
        "permissions.",
        "transformers/utils/hub.py",
    ),
    FaultCause(
        r"(?i)address already in use(?<!EADDRINUSE, message: address already in use)",
        "port in use: {port}, {holder}",
        "end it, or take another: --port {other_port}",
        "OSError: [Errno 98] Address already in use",
        "vllm-project/vllm#11617",
    ),
    FaultCause(
        r"VLLM_PORT '.*' appears to be a URI",
        "Kubernetes sets VLLM_PORT itself for a service named `vllm`, and vLLM takes it for its own",
        "give the service another name, or enableServiceLinks: false in the pod",
        "ValueError: VLLM_PORT 'tcp://10.0.0.7:8000' appears to be a URI. This may be caused by a Kubernetes service "
        "discovery issue",
        "vllm/envs.py",
    ),
    FaultCause(
        r"Error while creating shared memory segment|Bus error|SIGBUS received|unable to (?:mmap"
        r"|write to) .*(?:/torch_|shm)"
        r"|No space left on device: '?/dev/shm",
        "/dev/shm is too small for what the processes share",
        "docker run --shm-size 16g … (or --ipc host); Kubernetes: an emptyDir of medium Memory at /dev/shm",
        "node:6021:6021 [0] misc/shmutils.cc:72 NCCL WARN Error while creating shared memory segment "
        "/dev/shm/nccl-xxxxx (size 7340384)",
        "MiniMax-AI/MiniMax-01#42",
    ),
    FaultCause(
        r"No space left on device(?!: '?/dev/shm)|Disk quota exceeded",
        "a disk is full: the hub's cache, vLLM's cache, or /tmp",
        "df -h names it; python -m probes.doctor looks at the disks; HF_HOME=… puts the hub's cache on another",
        "OSError: [Errno 28] No space left on device",
        "Python",
    ),
    FaultCause(
        r"Too many open files",
        "the limit of open files is too low",
        "ulimit -n 65535, then start it again in the same shell",
        "OSError: [Errno 24] Too many open files",
        "Python",
    ),
    FaultCause(
        r"can't start new thread|pthread_create failed|fork: (?:retry: )?Resource temporarily unavailable",
        "the limit of processes and threads is reached",
        "ulimit -u 65535; docker run --pids-limit -1; and export OMP_NUM_THREADS=1",
        "RuntimeError: can't start new thread",
        "vllm-project/vllm#46670",
    ),
    FaultCause(
        r"could not select device driver|unknown or invalid runtime name: nvidia",
        "Docker cannot give GPUs to a container: the NVIDIA container toolkit is not installed",
        "install nvidia-container-toolkit, then sudo nvidia-ctk runtime configure --runtime docker and restart Docker",
        'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
        "Docker",
    ),
    FaultCause(
        r"(?i)exec format error",
        "the image or the Python was built for another kind of processor (arm64 against amd64)",
        "docker pull --platform linux/amd64 … (or linux/arm64, as uname -m says)",
        "exec /usr/bin/python3: exec format error",
        "Linux",
    ),
    FaultCause(
        r"An attempt has been made to start a new process before the|finished its bootstrapping phase",
        "a script starts vLLM as it is imported, and its child processes import it again",
        'put it below: if __name__ == "__main__":',
        "An attempt has been made to start a new process before the",
        "Python",
    ),
    FaultCause(
        r"compiled using NumPy 1\.x cannot be run",
        "a package was built for NumPy 1, and NumPy 2 is installed",
        "pip install --upgrade that package (the traceback names it); else pip install 'numpy<2'",
        "A module that was compiled using NumPy 1.x cannot be run in",
        "exo-explore/exo#109",
    ),
    FaultCause(
        r"not found in your environment: .* Run `(pip install (?!.*flash_attn)[^`]+)`",
        "the model's own code asks for packages that are not installed",
        "{1}",
        "ImportError: This modeling file requires the following packages that were not found in your environment: "
        "einops. Run `pip install einops`",
        "transformers/dynamic_module_utils.py",
    ),
    FaultCause(
        r"No module named '((?!vllm|flash_attn)[^'.]+)",
        "a package is not installed in this Python: {1}",
        "pip install the package that has it; python -m probes.doctor looks at the installation",
        "ModuleNotFoundError: No module named 'decord'",
        "Python",
    ),
    FaultCause(
        r"unrecognized arguments: |error: argument |error: the following arguments are required",
        "vLLM does not take an argument as given",
        "correct its spelling or value; python -m {program} --help=all lists them",
        "api_server.py: error: unrecognized arguments: --frob 1",
        "Python",
    ),
    FaultCause(
        r"Segmentation fault|Segfault encountered|(?:exit code|Failed core proc.*): -11\b",
        "a segmentation fault: compiled code of a build that does not fit, or a broken driver",
        "export PYTHONFAULTHANDLER=1 and start it again: the log then names the function; python -m probes.doctor "
        "looks at the installation",
        "!!!!!!! Segfault encountered !!!!!!!",
        "torch, compiled",
        general=True,
    ),
    FaultCause(
        r"(?i:Illegal instruction)|(?:exit code|Failed core proc.*): -4\b",
        "wrong build: compiled for a processor with other instructions than this one (AVX-512, most often)",
        "python -m probes.machine lists what this one has; build vLLM here, or take a build for AVX2",
        "Fatal Python error: Illegal instruction",
        "Python",
        general=True,
    ),
    FaultCause(
        r"KeyboardInterrupt: terminated|trigger received signal",
        "someone ended it before it answered: Kubernetes' startup or liveness probe, most often",
        "kubectl describe pod POD says so; raise failureThreshold times periodSeconds of startupProbe above the time "
        "that "
        "a start takes",
        "KeyboardInterrupt: terminated",
        "vllm-project/vllm#17386",
    ),
)
