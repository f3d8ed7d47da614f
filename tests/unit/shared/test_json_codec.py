"""JSON: which numbers count as whole, however they are written."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from origin.shared.json_codec import encode_json, read_json

WHOLE = [
    ("100", 100),
    ("100.0", 100),
    ("100.000", 100),
    ("1e2", 100),
    ("1E+2", 100),
    ("1.5e1", 15),
    ("1500e-2", 15),
    ("-100.0", -100),
    ("0.0", 0),
    ("-0.0", 0),
    ("0e99999", 0),
    ("1e18", 10**18),
    ("9007199254740993.0", 9007199254740993),
    ("9223372036854775807.0", 2**63 - 1),
    ("123456789012345678901234567890", 123456789012345678901234567890),
]
NOT_WHOLE = [
    "1.5",
    "1e-1",
    "1000000000000000000.5",
    "9007199254740992.5",
    "1.00000000000000000000000001",
    "1e-400",
    # Beyond all limits: it stays a float, which no field for whole numbers accepts.
    "1e300",
]


@pytest.mark.parametrize(("text", "value"), WHOLE)
def test_whole_numbers_are_ints_however_they_are_written(text: str, value: int) -> None:
    found = read_json(text.encode())
    assert (type(found), found) == (int, value)


@pytest.mark.parametrize("text", NOT_WHOLE)
def test_other_numbers_are_floats(text: str) -> None:
    found = read_json(text.encode())
    assert (type(found), found) == (float, float(text))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None))
@example(Decimal("9223372036854775807.0"))
@example(Decimal("1E-400"))
def test_it_is_a_float_or_exactly_the_whole_number(number: Decimal) -> None:
    text = f"{number:E}" if abs(number.adjusted()) < 300 else "0.5"
    found = read_json(text.encode())
    exact = Decimal(text)
    if abs(exact) < 2**63 and exact == exact.to_integral_value():
        assert (type(found), found) == (int, int(exact))
    elif abs(exact) < 2**63 or abs(exact) > 2**65:
        assert (type(found), found) == (float, float(text))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{} x",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"1e" + b"9" * 5000,
        b"1" * 5000,
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_invalid_json_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^Not JSON"):
        read_json(raw)


def test_other_values_are_unchanged() -> None:
    text = b'{"a": [true, null, "10", "1.0", {"b": 0.25}], "a ": {}, "a": false}'
    expected: Any = {"a": False, "a ": {}}
    assert read_json(text) == expected
    assert read_json(b'[true, "10", "1.0", null]') == [True, "10", "1.0", None]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"sum": 2**64}, b'{"sum": 18446744073709551616}'),
        (["\ud800"], b'["\\ud800"]'),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, b'{"at":"2026-01-01T00:00:00+00:00"}'),
    ],
)
def test_encoding_also_takes_numbers_beyond_64_bits_and_lone_surrogates(
    document: Any, text: bytes
) -> None:
    assert encode_json(document) == text
    assert encode_json({"of": document, "other": object}, default=lambda _: "text").endswith(
        b'"text"}'
    )


def test_a_type_without_json_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        encode_json(object())
