"""Reads JSON of clients and peers. Here alone is decided what a whole number is."""

from typing import Any

import msgspec

MAX_EXACT = 2**64
"""Numbers with a point or an exponent that reach this stay floats; nothing here holds as much."""

MAX_EXACT_FLOAT = 2**53
"""Up to this a float that is whole is what was written, where digits of fractions are few."""


def read_json(raw: bytes) -> Any:
    """The JSON document in these bytes.

    A number whose value is whole is an `int`, also where it is written as 100.0 or 1e2. All other
    numbers are floats. So a field for whole numbers takes exactly what has the type `int`.

    :raises ValueError: it isn't JSON, is nested too deeply, or has a number beyond all floats.
    """
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # Not chained: the cause may quote the document.
        raise ValueError(f"Not JSON that can be read ({type(error).__name__})") from None


def _number(literal: str) -> int | float:
    """The value of a number that is written with a point or an exponent.

    The digits decide, not the float nearest to them: 1000000000000000000.5 isn't whole.
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
