"""Takes secrets out of what is told, whoever put them in: the last door, not the first.

By the name of a field, by the look of a value, and by the values of our own settings.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"
_SHORTEST_SECRET = 6
"""Shorter ones would be found in any word; nobody should have them."""

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
    # What OAuth puts into URLs.
    (re.compile(rf"([?&](?:code|state|nonce|code_verifier)=){_VALUE}"), rf"\1{REDACTED}"),
    # JSON Web Tokens.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), REDACTED),
    # Extended private keys (BIP 32) of main and test nets.
    (re.compile(r"\b[xt]prv[1-9A-HJ-NP-Za-km-z]{50,}"), REDACTED),
)

_SIGNS = re.compile(r"[=:]|eyJ|prv|bearer|basic", re.IGNORECASE)
"""Every pattern has one of these in it: most texts have none, and are looked through once."""
_MANY_NAMES = 1_000


@lru_cache(_MANY_NAMES)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


class Redactor:
    """Takes secrets out of log entries.

    :param secrets: Values that must never be told.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len)
        # The longest first, since one may hold another.
        self._known = re.compile("|".join(map(re.escape, reversed(known)))) if known else None
        # Names are few, and come with every line.
        self._name = lru_cache(_MANY_NAMES)(self.text)

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if _SIGNS.search(text):
            for pattern, replacement in _PATTERNS:
                text = pattern.sub(replacement, text)
        return text

    def value(self, value: Any, name: str = "") -> Any:
        """The value of a field of this name without secrets, however deep they are in it.

        Numbers and times stay; anything unknown becomes text.
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
