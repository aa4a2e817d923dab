"""What counts as a secret, in environments and on command lines."""

from __future__ import annotations

from probes.privacy.secretvalues import blanked_words, secret_variables, secret_words


def test_variables_that_are_named_like_secrets() -> None:
    secrets = {"HF_TOKEN": "a", "OPENAI_API_KEY": "b", "DB_PASSWORD": "1", "AWS_SECRET_ACCESS": "c"}
    public = {"MAX_TOKENS": "512", "TOKENIZERS_PARALLELISM": "true", "PATH": "/bin", "EMPTY_TOKEN": ""}
    assert secret_variables(secrets | public) == secrets


def test_words_of_a_command_line_that_are_secrets() -> None:
    command = ["env", "HF_TOKEN=one", "x", "--api-key", "two", "--max-tokens", "64", "--header", "api-key: 'three'"]
    assert secret_words(command) == {"one", "two", "three"}
    assert secret_words(["x", "hf_abcdefghijklmnopqrst"]) == {"hf_abcdefghijklmnopqrst"}


def test_keys_inside_a_shells_script() -> None:
    command = ["bash", "-c", "vllm serve m --api-key abcdefgh --max-tokens 12 --hf-token 'two words'"]
    assert secret_words(command) == {"abcdefgh", "two words"}
    assert blanked_words(command)[2] == "vllm serve m --api-key *** --max-tokens 12 --hf-token ***"


def test_variables_whose_values_have_the_form_of_keys() -> None:
    secrets = {"HTTPS_PROXY": "http://u:pw@host", "MINE": "hf_abcdefghijklmnop", "DB_PWD": "x", "AZURE_PAT": "y"}
    public = {"PWD": "/work", "OLDPWD": "/", "DATA_PATH": "/data", "HTTP_PROXY": "http://host:3128"}
    assert secret_variables(secrets | public) == secrets
