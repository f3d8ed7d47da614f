"""Exact arithmetic on what peers write as decimals: whole numbers of 10⁻³⁰, floats at the edge alone.

A sum of millions of quotients, each rounded to 10⁻³⁰, is off by less than 10⁻²²: floats made of it
are the ones nearest to the true values, and `whole` knows a half when it sees one.
"""

from decimal import Decimal

ONE = 10**30
"""1 (g, Wh) in the units of this module."""

_SEEN_AS_EQUAL = 10**12


def exact(number: float) -> int:
    """The decimal that this number is written as: 0.1 is a tenth, not the float beside it.

    :raises OverflowError: an infinite one. ValueError: none at all (NaN).
    """
    if type(number) is int:
        return number * ONE
    # With up to fifteen digits, a decimal and the float nearest to it stand for each other.
    if -1e6 < number < 1e6:
        billionths = round(number * 1e9)
        if billionths / 1e9 == number:
            return billionths * 10**21
    elif -1e9 < number < 1e9:
        millionths = round(number * 1e6)
        if millionths / 1e6 == number:
            return millionths * 10**24
    if -1 < number < 1:
        return int(Decimal(repr(number)).scaleb(30))
    # The other numbers of up to fifteen digits, large ones with few decimals say.
    if number == float(written := f"{number:.15g}"):
        return int(Decimal(written).scaleb(30))
    # So many digits mean a quotient, of which the float is as true as its decimal, and quicker.
    numerator, denominator = number.as_integer_ratio()
    return (numerator * ONE) >> (denominator.bit_length() - 1)


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
