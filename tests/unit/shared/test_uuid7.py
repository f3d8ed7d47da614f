"""Ids are UUIDs of version 7 that sort by time."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.shared.uuid7 import uuid7

_TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(  # noqa: DTZ001 - UTC follows
    lambda each: each.replace(tzinfo=UTC)
)


@given(_TIMES)
def test_it_begins_with_the_milliseconds(at: datetime):
    made = uuid7(at)
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert made.int >> 80 == milliseconds
    assert (made.version, made.variant) == (7, RFC_4122)


@given(_TIMES, st.integers(1, 10**12))
def test_later_microseconds_have_greater_ids(at: datetime, microseconds: int):
    if at.year < 9990:
        assert uuid7(at) < uuid7(at + timedelta(microseconds=microseconds))


def test_the_example_of_the_standard_has_its_time():
    """RFC 9562, A.6."""
    at = datetime(2022, 2, 22, 14, 22, 22, tzinfo=timezone(timedelta(hours=-5)))
    assert str(uuid7(at)).startswith("017f22e2-79b0-7000-")


def test_ids_of_one_moment_differ():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({uuid7(at) for _ in range(1000)}) == 1000


def test_before_1970_there_are_none():
    with pytest.raises(ValueError, match="1970"):
        uuid7(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
