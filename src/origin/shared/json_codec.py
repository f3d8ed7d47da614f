"""Reads and writes JSON. The rule of what a whole number is stands here alone."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

MAX_EXACT = 2**64
"""Numbers with a point or an exponent stay floats from here on; no field allows such values."""

MAX_EXACT_FLOAT = 2**53
"""Up to this, a whole float equals the number as written, if its fraction has few digits."""


def read_json(raw: bytes) -> Any:
    """Return the JSON document in these bytes.

    A number whose value is whole is an `int`, also where it is written as 100.0 or 1e2. All other
    numbers are floats. So a field for whole numbers accepts exactly the type `int`.

    :raises ValueError: it isn't JSON, is nested too deeply, or has a number beyond all floats.
    """
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # Not chained: the cause may quote the document.
        raise ValueError(f"Not JSON that can be read ({type(error).__name__})") from None


def encode_json(document: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return the document as JSON; aware times become ISO 8601.

    :param default: Replaces values of types that JSON does not have.
    :raises TypeError: a value has such a type, and `default` is not given.
    """
    try:
        return orjson.dumps(document, default=default)
    except orjson.JSONEncodeError:
        # Sums may exceed 64 bits and logged texts may have lone surrogates: orjson takes neither.
        return json.dumps(document, default=default).encode()


def _number(literal: str) -> int | float:
    """Return the value of a number that is written with a point or an exponent.

    The digits decide, not the nearest float: 1000000000000000000.5 isn't whole.
    """
    number = float(literal)
    if abs(number) == float("inf"):
        raise ValueError("beyond all floats")
    if not number.is_integer() or abs(number) >= MAX_EXACT:
        return number
    mantissa, _, exponent = literal.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).rstrip("0")
    if digits in {"", "-"}:
        return 0
    power = int(exponent or 0) + len(whole) - len(digits)
    return int(digits) * 10**power if power >= 0 else number


_decoder = msgspec.json.Decoder(float_hook=_number)
