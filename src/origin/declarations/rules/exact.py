"""Exact arithmetic on numbers that peers write as decimals: whole numbers of 10⁻³⁰.

A sum of millions of quotients, each rounded down to 10⁻³⁰, is off by less than 10⁻²². So a float made
of it is the one nearest to the true value, and `whole` recognizes a half. Floats are made when the
answer is written, not before.
"""

from decimal import Context, Decimal

ONE = 10**30
"""1 g or 1 Wh in the units of this module."""

_SEEN_AS_EQUAL = 10**12
"""Values that differ by less than half of this are the same decimal."""

_DIGITS = Context(prec=200)
"""Enough digits to scale any number of the peers without rounding."""


def exact(number: Decimal | int) -> int:
    """Return the number in units of 10⁻³⁰; digits beyond these are rounded, halves to the even one."""
    if isinstance(number, int):
        return number * ONE
    return round(number.scaleb(30, _DIGITS))


def as_float(value: int) -> float:
    """Return the float nearest to the value."""
    return value / ONE


def as_number(value: int) -> float:
    """Return an `int` if the value is whole, else the float nearest to it."""
    whole_number, rest = divmod(value, ONE)
    return value / ONE if rest else whole_number


def per(value: int, amount: int) -> float:
    """Return `value` per unit of `amount`; 0 if the amount is 0."""
    return value / amount if amount else 0.0


def whole(value: int) -> int:
    """Return the nearest whole number; halves go to the even one."""
    return _rounded(_rounded(value, _SEEN_AS_EQUAL), ONE // _SEEN_AS_EQUAL)


def _rounded(value: int, unit: int) -> int:
    number, rest = divmod(value, unit)
    return number + (2 * rest > unit or (2 * rest == unit and number % 2 == 1))
