"""Causes: the model, its files, the hub it comes from, its tokenizer."""

from __future__ import annotations

from probes.serve.faults.causes.faultcause import FaultCause

MODELS = (
    FaultCause(
        r"RepositoryNotFoundError|Repository Not Found|is not a valid model identifier",
        "model not found: the hub has no model of this name (it answers 401 for a name that does not exist)",
        "check its name; for a private model, export HF_TOKEN=…",
        "OSError: acme/nothing is not a local folder and is not a valid model identifier listed on "
        "'https://huggingface.co/models'",
        "transformers/utils/hub.py",
    ),
    FaultCause(
        r"RevisionNotFoundError|is not a valid git identifier",
        "the model is there, but not this --revision of it",
        "leave --revision out, or take a branch, tag or commit that the model's page lists",
        "OSError: v9 is not a valid git identifier (branch name, tag name or commit id) that exists for this model "
        "name.",
        "transformers/utils/hub.py",
    ),
    FaultCause(
        r"gated repo|(?<!RepositoryNotFoundError: )401 Client Error|403 Client Error",
        "the hub gives out this model only to users who have accepted its terms",
        "accept the model's terms there, then export HF_TOKEN=…",
        "OSError: You are trying to access a gated repo.",
        "transformers/utils/hub.py",
    ),
    FaultCause(
        r"CERTIFICATE_VERIFY_FAILED",
        "the hub's certificate is not trusted here: a proxy of this network, most often",
        "export REQUESTS_CA_BUNDLE=… and SSL_CERT_FILE=… (the proxy's certificate), or fetch the model elsewhere",
        "httpx.ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer",
        "Python",
    ),
    FaultCause(
        r"429 Client Error|Too Many Requests",
        "the hub gets too many requests from here and answers no more for a while",
        "wait some minutes, export HF_TOKEN=…, or fetch the model once and give its folder",
        "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url",
        "requests/models.py",
    ),
    FaultCause(
        r"offline mode is enabled|OfflineModeIsEnabled|outgoing traffic has been disabled",
        "the hub may not be asked (HF_HUB_OFFLINE), and the model is not whole in its cache",
        "unset HF_HUB_OFFLINE; or fetch it where there is a network: hf download ORG/NAME, and give its folder",
        "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach https://huggingface.co/a/b: offline mode is "
        "enabled. To disable it, please unset the `HF_HUB_OFFLINE` environment variable.",
        "huggingface_hub/utils/_http.py",
    ),
    FaultCause(
        r"couldn't connect to|Max retries exceeded|(?:Temporary failure in n|N)ame (?:resolution|or service not known)"
        r"|LocalEntryNotFoundError(?!.*outgoing traffic)|ReadTimeout|ConnectTimeout",
        "the hub cannot be reached from here, and the model is not in its cache",
        "export HF_ENDPOINT=… (a mirror) or HTTPS_PROXY=…; or fetch it elsewhere: hf download ORG/NAME, and give its "
        "folder",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the "
        "cached files.",
        "transformers/utils/hub.py",
    ),
    FaultCause(
        r"Repo id must be|Invalid repository ID or local directory|Can't load the configuration"
        r"|does not appear to have a file named config\.json|Could not detect config format",
        "model not found: it is neither a folder with a model here, nor a name on a hub",
        "check its name or path, and in a container its mount: the folder has to hold config.json",
        "ValueError: Could not detect config format for no config file found. With config_format 'auto', ensure your "
        "model has either config.json (HF format) or params.json (Mistral format).",
        "vllm/transformers_utils/config.py",
    ),
    FaultCause(
        r"Cannot find any (?:safetensors )?model weights",
        "the folder has a model's configuration, but none of its weights: a download that was not finished, most often",
        "hf download ORG/NAME again, or for *.bin and *.gguf files another --load-format",
        "RuntimeError: Cannot find any model weights with `/models/a`",
        "vllm/model_executor/model_loader/default_loader.py",
    ),
    FaultCause(
        r"SafetensorError|Consistency check failed",
        "a file of the model is damaged, or was only half fetched",
        "delete the model's folder, or its entry in the hub's cache, and fetch it again: hf download ORG/NAME "
        "--force-download",
        "OSError: Consistency check failed: file should be of size 4932808 but has size 1048576 (model.safetensors).",
        "huggingface_hub/file_download.py",
    ),
    FaultCause(
        r"upgrade torch to at least v2\.6|Weights only load failed",
        "the weights are pickled files (*.bin), which this torch does not load safely",
        "a model with *.safetensors files, or a newer torch",
        "ValueError: Due to a serious vulnerability issue in `torch.load`, even with `weights_only=True`, we now "
        "require users to upgrade torch to at least v2.6",
        "transformers/utils/import_utils.py",
    ),
    FaultCause(
        r"weights were not initialized from checkpoint",
        "the files lack weights that the model's architecture has: a shard is missing, or config.json is another "
        "model's",
        "hf download ORG/NAME again; for an adapter, serve its base model with --enable-lora",
        "ValueError: Following weights were not initialized from checkpoint: {'model.layers.7.mlp.down_proj.weight'}",
        "vllm/model_executor/model_loader/default_loader.py",
    ),
    FaultCause(
        r"Attempted to load weight \(|There is no module or parameter named|KeyError: '(?:model\.|transformer\."
        r"|blocks\.|layers\.)",
        "the weights do not fit the architecture in config.json: names or shapes differ (a quantized, merged or "
        "changed model)",
        "a newer vLLM that knows this model's form; else the original model, or --quantization as the model's page "
        "says",
        "KeyError: 'layers.0.mlp.down_proj.weight_scale'",
        "vllm-project/llm-compressor#959",
    ),
    FaultCause(
        r"Please set the option `trust_remote_code=True`|contains custom code"
        r"|pass the argument `trust_remote_code=True`",
        "the model brings code of its own, which vLLM does not run unasked",
        "read that code; then --trust-remote-code",
        "ValueError: Loading this model requires you to execute custom code contained in the model repository on your "
        "local machine. Please set the option `trust_remote_code=True` to permit loading of this model.",
        "transformers/dynamic_module_utils.py",
    ),
    FaultCause(
        r"Transformers does not recognize this architecture|Unrecognized configuration class",
        "the installed transformers is older than the model",
        "pip install --upgrade transformers, or a newer vLLM that asks for a newer one",
        "ValueError: The checkpoint you are trying to load has model type `qwen9` but Transformers does not recognize "
        "this architecture. This could be because of an issue with the checkpoint",
        "transformers/models/auto/configuration_auto.py",
    ),
    FaultCause(
        r"Should have a `model_type` key",
        "the model's config.json does not say what model it is (no model_type): no folder of a transformers model",
        "check that MODEL names a model's own folder, not an adapter's or the original weights'",
        "ValueError: Unrecognized model in /models/lora. Should have a `model_type` key in its config.json.",
        "transformers/models/auto/configuration_auto.py",
    ),
    FaultCause(
        r"Model architectures .* (?:are not supported|failed to be inspected)|has no vLLM implementation and",
        "this vLLM does not know the model's architecture",
        "a newer vLLM, or another model",
        "ValueError: Model architectures ['NewForCausalLM'] are not supported for now. Supported architectures: ",
        "vllm/model_executor/models/registry.py",
    ),
    FaultCause(
        r"GGUF model with architecture|Unknown gguf model_type",
        "the GGUF file is of an architecture that transformers cannot read",
        "the same model in safetensors, or with --hf-config-path=ORG/NAME of the original",
        "ValueError: GGUF model with architecture gemma9 is not supported yet.",
        "transformers/modeling_gguf_pytorch_utils.py",
    ),
    FaultCause(
        r"Tokenizer class \S+ does not exist|Failed to load the tokenizer",
        "the installed transformers is older than the model's tokenizer, or the tokenizer brings code of its own",
        "pip install --upgrade transformers; or, having read its code, --trust-remote-code",
        "RuntimeError: Failed to load the tokenizer. If the tokenizer is a custom tokenizer not yet available in the "
        "HuggingFace transformers library",
        "vllm/tokenizers/hf.py",
    ),
    FaultCause(
        r"Couldn't instantiate the backend tokenizer",
        "the model has no tokenizer.json, and what would convert its old one is not installed",
        "pip install sentencepiece tiktoken; or --tokenizer=ORG/NAME of the base model; Mistral's own: "
        "--tokenizer-mode=mistral",
        "ValueError: Couldn't instantiate the backend tokenizer from one of: ",
        "transformers/tokenization_utils_tokenizers.py",
    ),
    FaultCause(
        r"ModelScope needs modelscope|install modelscope",
        "VLLM_USE_MODELSCOPE is set, and ModelScope's package is not installed or too old",
        "pip install -U modelscope; or unset VLLM_USE_MODELSCOPE",
        "ImportError: Please install modelscope>=1.18.1 via `pip install modelscope>=1.18.1` to use ModelScope.",
        "vllm/transformers_utils/__init__.py",
    ),
    FaultCause(
        r"To load a model from (?:object storage|S3)",
        "a model in S3, GCS or Azure needs another loader",
        "pip install runai-model-streamer, then --load-format=runai_streamer",
        "ValueError: To load a model from object storage (S3/GCS/Azure), 'load_format' must be 'modelexpress', "
        "'runai_streamer' or 'runai_streamer_sharded', but got 'auto'.",
        "vllm/config/vllm.py",
    ),
    FaultCause(
        r"LoRA rank (\d+) is greater than max_lora_rank",
        "the adapter's rank is greater than what room was made for",
        "--max-lora-rank={1}, or the next size above it that vLLM takes",
        "ValueError: LoRA rank 64 is greater than max_lora_rank 16.",
        "vllm/lora/peft_helper.py",
    ),
    FaultCause(
        r"does not support LoRA yet|is not supported for LoRA|LoRA is not supported for \w+ \(",
        "this model's code takes no adapters",
        "merge the adapter into the model, and serve that",
        "ValueError: OPTForSequence does not support LoRA yet.",
        "vllm/v1/worker/lora_model_runner_mixin.py",
    ),
    FaultCause(
        r"does not support `--runner (\w+)`",
        "this model cannot be run as asked: it makes embeddings where text was asked for, or the reverse",
        "leave --runner out (--runner=auto)",
        "ValueError: This model does not support `--runner generate`.",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"supplied chat template string .* appears path-like",
        "the file of the chat template is not there",
        "check --chat-template's path, and in a container its mount",
        "vllm.exceptions.VLLMValidationError: The supplied chat template string (/t/chat.jinja) appears path-like, but "
        "doesn't exist! Tried: /t/chat.jinja and /vllm/templates/chat.jinja",
        "vllm/renderers/chat_utils.py",
    ),
    FaultCause(
        r"is required for a normal functioning|cannot import name '\w+' from '(?:transformers|huggingface_hub"
        r"|tokenizers)|No module named 'transformers\.",
        "transformers, tokenizers and huggingface_hub are of versions that do not go together, or not with this vLLM",
        "install vLLM again with what it pins: pip install --force-reinstall vllm==…; python -m probes.doctor names "
        "the builds",
        "ImportError: huggingface-hub>=1.3.0,<2.0 is required for a normal functioning of this module, but found "
        "huggingface-hub==0.36.0.",
        "transformers/utils/versions.py",
    ),
    FaultCause(
        r"untagged enum ModelWrapper",
        "the tokenizer's file is of a newer form than the installed tokenizers package reads",
        "pip install --upgrade tokenizers transformers, or a newer vLLM that asks for newer ones",
        "Exception: data did not match any variant of untagged enum ModelWrapper at line 1251012 column 3",
        "allenai/open-instruct#738",
    ),
    FaultCause(
        r"Can't load tokenizer for",
        "the model's folder has no tokenizer: an adapter, a GGUF file alone, or a download that was not finished",
        "--tokenizer=ORG/NAME of the base model, or hf download ORG/NAME again",
        "OSError: Can't load tokenizer for '/models/a'. If you were trying to load it from "
        "'https://huggingface.co/models', make sure",
        "transformers/tokenization_utils_base.py",
    ),
    FaultCause(
        r"CAS service error|xet_get",
        "the hub's fast way of fetching (Xet) fails here",
        "export HF_HUB_DISABLE_XET=1 and start it again: what is whole stays",
        "RuntimeError: Data processing error: CAS service error : IO Error: Timer expired",
        "huggingface/xet-core#444",
    ),
    FaultCause(
        r"\b5\d\d Server Error|IncompleteRead|ChunkedEncodingError|RemoteProtocolError",
        "the hub failed, or the download broke off",
        "start it again: what is whole stays; else fetch it first: hf download ORG/NAME, and give its folder",
        "huggingface_hub.errors.HfHubHTTPError: 504 Server Error: Gateway Time-out for url: https://huggingface.co/a/b",
        "requests/models.py",
    ),
)
