"""What looks like a secret, by its name or by its form, and texts without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

HIDDEN = "***"
SECRET_NAME = (
    r"[\w.-]*(?:key(?!error|word|board)|secret|passw|passphrase|(?<=[_-])pwd|(?<=[_-])pat(?![a-z])"
    r"|credential|authorization|token(?!iz))[\w.-]*"
)
# NAME=value, "name": "value", name=value,other=...&other=...: the value runs to the next name, or to the end.
SECRET_VALUE = re.compile(
    rf"""({SECRET_NAME}["']?\s*[=:]\s*)("[^"]*"|'[^']*'|.*?(?=[,&]\s*["']?[\w.-]+["']?\s*[=:]|$))""", re.I | re.S
)
SECRET_OPTION = re.compile(rf"-{SECRET_NAME}", re.I)
# The same inside a longer text, a shell's script for one: `vllm serve m --api-key abc`.
SECRET_OPTION_IN_TEXT = re.compile(rf"(?<!\S)(--?{SECRET_NAME})(\s+)(\"[^\"]*\"|'[^']*'|[^\s-]\S*)", re.I)
SECRET_VARIABLE = re.compile(SECRET_NAME, re.I)
KNOWN_SECRET = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{12,}|(?:sk-|gh[pous]_|github_pat_|glpat-|xox[abp]-|nvapi-)[\w-]{8,})"
    r"|(?<=://)[^/\s@]+(?=@)|(?<=bearer )\S+",
    re.I,
)
# --max-num-batched-tokens 8192 and long_prefill_token_threshold=512 are no secrets; a password of digits is.
COUNT_NAME = re.compile(r"(?!.*(?:key|secret|passw|credential|authorization)).*token(?:s|[_-]\w)", re.I)
COUNTS = re.compile(r"[\d\s.,:}\]]*")


def secret_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that look like secrets: `HF_TOKEN`, a proxy's password; not `MAX_TOKENS=512`."""
    return {name: value for name, value in environ.items() if is_secret(name, value)}


def is_secret(name: str, value: str) -> bool:
    """Whether a variable's name is that of a secret, or its value has the form of a known kind of key."""
    named = bool(value and SECRET_VARIABLE.fullmatch(name)) and not _is_count(name, value)
    return named or bool(KNOWN_SECRET.search(value))


def blanked(text: str) -> str:
    """`text` with the values after secret names, and what has the form of a known kind of key, as `***`."""
    text = SECRET_VALUE.sub(lambda match: match[0] if _is_count(*match.groups()) else match[1] + HIDDEN, text)
    text = SECRET_OPTION_IN_TEXT.sub(
        lambda match: match[0] if _is_count(match[1], match[3]) else match[1] + match[2] + HIDDEN, text
    )
    return KNOWN_SECRET.sub(HIDDEN, text)


def blanked_words(words: Sequence[str]) -> list[str]:
    """The words of a command line, each blanked, and whole where it is the value of a secret option."""
    return [HIDDEN if hide else blanked(word) for word, hide in _with_verdicts(words)]


def secret_words(words: Sequence[str]) -> set[str]:
    """What `blanked_words` takes out of a command line."""
    secrets: set[str] = set()
    for word, hide in _with_verdicts(words):
        if hide:
            secrets.add(word)
        else:
            secrets |= {
                match[2].strip("\"'") for match in SECRET_VALUE.finditer(word) if not _is_count(*match.groups())
            }
            secrets |= {
                match[3].strip("\"'")
                for match in SECRET_OPTION_IN_TEXT.finditer(word)
                if not _is_count(match[1], match[3])
            }
            secrets |= set(KNOWN_SECRET.findall(word))
    return secrets - {""}


def _with_verdicts(words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Each word, and whether it is the value of a secret option."""
    option = ""
    for word in words:
        if word.startswith("-"):
            option = word  # all words up to the next option count as its values: some take several
        yield word, bool(word != option and SECRET_OPTION.fullmatch(option) and not _is_count(option, word))


def _is_count(name: str, value: str) -> bool:
    return bool(COUNT_NAME.match(name) and COUNTS.fullmatch(value))
