"""Exact arithmetic on what peers write as decimals: whole numbers of 10⁻³⁰, floats at the edge alone.

A sum of millions of quotients, each rounded to 10⁻³⁰, is off by less than 10⁻²²: floats made of it
are the ones nearest to the true values, and `whole` knows a half when it sees one.
"""

from bisect import bisect

ONE = 10**30
"""1 (g, Wh) in the units of this module."""

_SEEN_AS_EQUAL = 10**12

_PLACES = range(-7, 16)
_TENS = [10.0**place for place in _PLACES]
_DIGITS: list[tuple[float, int]] = [(10.0 ** (15 - place), 10 ** (15 + place)) for place in _PLACES]
"""What makes whole numbers of fifteen digits of numbers below these, and what these count."""
_BITS = 120
_BINARY, _HALF = 2.0**_BITS, 1 << (_BITS - 1)


def exact(number: float) -> int:
    """The decimal that this number is written as, below 10¹⁵: 0.1 is a tenth, not the float beside it.

    More than fifteen digits mean a quotient, of which the float is as true as its decimal: its own value.

    :raises OverflowError: an infinite one. ValueError: none at all (NaN).
    """
    if type(number) is int:
        return number * ONE
    place = bisect(_TENS, abs(number))
    if place < len(_DIGITS):
        # With so many digits, a decimal and the float nearest to it stand for each other.
        scale, unit = _DIGITS[place]
        digits = round(number * scale)
        if digits / scale == number:
            return digits * unit
    return (int(number * _BINARY) * ONE + _HALF) >> _BITS


def as_float(value: int) -> float:
    """The float nearest to it."""
    return value / ONE


def as_number(value: int) -> float:
    """A whole number where it is one, else the float nearest to it."""
    whole_number, rest = divmod(value, ONE)
    return value / ONE if rest else whole_number


def per(value: int, amount: int) -> float:
    """`value` for each one of `amount`; 0 where there is nothing of it."""
    return value / amount if amount else 0.0


def whole(value: int) -> int:
    """Rounded to a whole number, halves to the even one."""
    return _rounded(_rounded(value, _SEEN_AS_EQUAL), ONE // _SEEN_AS_EQUAL)


def _rounded(value: int, unit: int) -> int:
    number, rest = divmod(value, unit)
    return number + (2 * rest > unit or (2 * rest == unit and number % 2 == 1))
