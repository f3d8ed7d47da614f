"""Exact arithmetic on what peers write as decimals: whole numbers of 10⁻³⁰, floats at the edge alone.

A sum of millions of quotients, each rounded to 10⁻³⁰, is off by less than 10⁻²²: floats made of it
are the ones nearest to the true values, and `whole` knows a half when it sees one.
"""

from decimal import Decimal

ONE = 10**30
"""1 (g, Wh) in the units of this module."""

_MICRO = 10**24
_SURELY_EXACT = 10**15
"""Below it, a whole number of millionths and the float that is written so stand for each other."""
_SEEN_AS_EQUAL = 10**12


def exact(number: float) -> int:
    """The decimal that this number is written as: 0.1 is a tenth, not the float beside it.

    :raises OverflowError: an infinite one. ValueError: none at all (NaN).
    """
    if type(number) is int:
        return number * ONE
    if -1e9 < number < 1e9:
        millionths = round(number * 1e6)
        if millionths / 1e6 == number and -_SURELY_EXACT < millionths < _SURELY_EXACT:
            return millionths * _MICRO
    return int(Decimal(repr(number)).scaleb(30))


def share(amount: int, part: int, whole_of_it: int) -> int:
    """Of `amount` as much as `part` is of `whole_of_it`, in the unit of `amount`."""
    return amount * part // whole_of_it


def as_float(value: int) -> float:
    """The float nearest to it."""
    return value / ONE


def as_number(value: int) -> float:
    """A whole number where it is one, else the float nearest to it."""
    number, rest = divmod(value, ONE)
    return value / ONE if rest else number


def per(value: int, amount: int) -> float:
    """`value` for each one of `amount`; 0 where there is nothing of it."""
    return value / amount if amount else 0.0


def whole(value: int) -> int:
    """Rounded to a whole number, halves to the even one."""
    return _rounded(_rounded(value, _SEEN_AS_EQUAL), ONE // _SEEN_AS_EQUAL)


def _rounded(value: int, unit: int) -> int:
    number, rest = divmod(value, unit)
    return number + (2 * rest > unit or (2 * rest == unit and number % 2 == 1))
