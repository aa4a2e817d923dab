"""What counts as a secret, in environments and on command lines."""

from __future__ import annotations

import pytest

from probes.privacy.secretvalues import blanked_words, secret_variables, secret_words

NAMED = {"HF_TOKEN": "a", "OPENAI_API_KEY": "b", "DB_PASSWORD": "1", "AWS_SECRET_ACCESS": "c"}
NOT_NAMED = {"MAX_TOKENS": "512", "TOKENIZERS_PARALLELISM": "true", "PATH": "/bin", "EMPTY_TOKEN": ""}
FORMED = {"HTTPS_PROXY": "http://u:pw@host", "MINE": "hf_abcdefghijklmnop", "DB_PWD": "x", "AZURE_PAT": "y"}
NOT_FORMED = {"PWD": "/work", "OLDPWD": "/", "DATA_PATH": "/data", "HTTP_PROXY": "http://host:3128"}


@pytest.mark.parametrize(("secrets", "public"), [(NAMED, NOT_NAMED), (FORMED, NOT_FORMED)])
def test_variables_named_like_secrets_or_formed_like_keys(secrets: dict[str, str], public: dict[str, str]) -> None:
    assert secret_variables(secrets | public) == secrets


def test_words_of_a_command_line_that_are_secrets() -> None:
    command = ["env", "HF_TOKEN=one", "x", "--api-key", "two", "--max-tokens", "64", "--header", "api-key: 'three'"]
    assert secret_words(command) == {"one", "two", "three"}
    assert secret_words(["x", "hf_abcdefghijklmnopqrst"]) == {"hf_abcdefghijklmnopqrst"}


def test_keys_inside_a_shells_script() -> None:
    command = ["bash", "-c", "vllm serve m --api-key abcdefgh --max-tokens 12 --hf-token 'two words'"]
    assert secret_words(command) == {"abcdefgh", "two words"}
    assert blanked_words(command)[2] == "vllm serve m --api-key *** --max-tokens 12 --hf-token ***"
