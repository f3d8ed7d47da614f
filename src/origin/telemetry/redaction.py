"""Removes secrets from log entries. This is the last safeguard: code must not log secrets at all.

It recognizes secrets by a field's name, by a value's form, and by the values of our settings.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"
_SHORTEST_SECRET = 6
"""Characters. Shorter secrets would match parts of ordinary words."""

_NAME = (
    r"authorization|cookie|passw(?:or)?d|secret|token|api_?key|(?:private|master)_?key|signature"
    r"|credential|conn_string|instrumentationkey"
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_VALUE = r"(?!\[redacted\])[^\s'\"&;,})]+"

_PATTERNS = (
    # `Authorization: Bearer …`
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    # `user:password@` in URLs.
    (re.compile(r"(://)[^/\s@'\"]+@"), rf"\1{REDACTED}@"),
    # `token=…`, `"secret": "…"`.
    (
        re.compile(rf"([\w.-]*(?:{_NAME})[\w.-]*['\"]?\s*[=:]\s*['\"]?){_VALUE}", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    # OAuth's parameters in URLs.
    (re.compile(rf"([?&](?:code|state|nonce|code_verifier)=){_VALUE}"), rf"\1{REDACTED}"),
    # JSON Web Tokens.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), REDACTED),
    # Extended private keys (BIP32) of main and test nets.
    (re.compile(r"\b[xt]prv[1-9A-HJ-NP-Za-km-z]{50,}"), REDACTED),
)

_SIGNS = re.compile(r"[=:]|eyJ|prv|bearer|basic", re.IGNORECASE)
"""Each pattern contains one of these. Most texts contain none and need only this one search."""
_MANY_NAMES = 1_000


@lru_cache(_MANY_NAMES)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


class Redactor:
    """Removes secrets from log entries.

    :param secrets: Values that must not appear in logs.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len)
        # The longest first, because one may contain another.
        self._known = re.compile("|".join(map(re.escape, reversed(known)))) if known else None
        # The same few names appear in every line.
        self._name = lru_cache(_MANY_NAMES)(self.text)

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if _SIGNS.search(text):
            for pattern, replacement in _PATTERNS:
                text = pattern.sub(replacement, text)
        return text

    def value(self, value: Any, name: str = "") -> Any:
        """Return the value of a field of this name without secrets, also in nested values.

        Numbers stay; values of other types become text.
        """
        if value is None or isinstance(value, bool | int | float):
            return value
        if _is_secret(name):
            return REDACTED
        if isinstance(value, dict):
            return {self._name(str(key)): self.value(each, str(key)) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(each) for each in value]
        if isinstance(value, bytes):
            return f"{len(value)} bytes"
        return self.text(str(value))
