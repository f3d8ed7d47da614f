"""Reads lists of the form `name=value,name=value`, as OpenTelemetry's variables have them."""

import re
from urllib.parse import unquote

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def key_values(text: str) -> dict[str, str]:
    """Return the list's names and values; values may be percent-encoded.

    :raises ValueError: An item has no name or no `=`, or isn't UTF-8. The error quotes nothing.
    """
    found = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, sign, value = item.partition("=")
        if not (name.strip() and sign):
            raise ValueError("not name=value,name=value")
        try:
            found[name.strip()] = unquote(value.strip(), errors="strict")
        except UnicodeDecodeError:
            raise ValueError("not UTF-8 after percent-decoding") from None
    return found


def headers_in(text: str) -> dict[str, str]:
    """Return the list's HTTP headers, with names in lower case.

    :raises ValueError: An item isn't a header. The error quotes nothing, because values are secrets.
    """
    headers = {name.lower(): value for name, value in key_values(text).items()}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("a name isn't one of a header")
        if not (value.isascii() and value.isprintable()):
            raise ValueError("a value isn't printable ASCII")
    return headers
