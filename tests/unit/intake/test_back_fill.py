"""The stretches of a back-fill leave no gap, and none is too long."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.intake.rules.back_fill import (
    QUICK_S,
    end_of_stretch,
    hours_after_failure,
    hours_after_success,
    months_of,
)
from origin.intake.rules.events import FIRST_BEGIN, PAST_LAST_BEGIN

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@given(
    months=st.none()
    | st.frozensets(
        st.dates(FIRST_BEGIN.date(), PAST_LAST_BEGIN.date()).map(lambda day: f"{day:%Y-%m}")
    ),
    hours=st.none() | st.integers(5000, 10**6),
)
def test_stretches_leave_no_gap(months: frozenset[str] | None, hours: int | None) -> None:
    begin = FIRST_BEGIN
    while begin < PAST_LAST_BEGIN:
        end = end_of_stretch(begin, NOW, months=months, hours=hours)
        assert begin < end <= PAST_LAST_BEGIN
        if hours is not None:
            assert end - begin <= timedelta(hours=hours)
        if months is not None and end - begin > timedelta(days=31):
            assert not any(f"{begin:%Y-%m}" <= month < f"{end:%Y-%m}" for month in months)
        begin = end


@pytest.mark.parametrize(
    ("begin", "months", "hours", "end"),
    [
        ("1970-01-01", None, None, "2020-01-01"),
        ("2020-01-01", None, None, "2020-02-01"),
        ("2020-12-09", None, None, "2021-01-01"),
        ("2026-11-01", None, None, str(PAST_LAST_BEGIN)),
        ("1970-01-01", {"2020-03", "2021-01"}, None, "2020-03-01"),
        ("2020-03-01", {"2020-03", "2021-01"}, None, "2020-04-01"),
        ("2020-04-01", {"2020-03", "2021-01"}, None, "2021-01-01"),
        ("2021-02-01", {"2020-03", "2021-01"}, None, str(PAST_LAST_BEGIN)),
        ("1970-01-01", set(), None, str(PAST_LAST_BEGIN)),
        ("2020-03-01", {"2020-03"}, 12, "2020-03-01T12:00:00"),
        ("2020-03-31", {"2020-03"}, 48, "2020-04-01"),
    ],
)
def test_end_of_a_stretch(begin: str, months: set[str] | None, hours: int | None, end: str) -> None:
    first, expected = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (begin, end))
    assert end_of_stretch(first, NOW, months=months, hours=hours) == expected


def test_a_stretch_that_failed_is_halved_and_grows_again() -> None:
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    assert hours_after_failure(begin, begin + timedelta(days=31)) == 31 * 12
    assert hours_after_failure(begin, begin + timedelta(hours=1)) == 1
    assert hours_after_failure(begin, begin + timedelta(seconds=1)) == 1
    assert hours_after_success(None, 0.1) is None
    assert hours_after_success(12, 0.1) == 24
    assert hours_after_success(12, QUICK_S + 1) == 12
    assert hours_after_success(10**6, 0.1) == 10**6


def test_labels_must_be_months() -> None:
    assert months_of(["2020-01", "2020-02", "2020-01"]) == {"2020-01", "2020-02"}
    for label in ("2020", "2020-01-01", "All-time", ""):
        with pytest.raises(ValueError, match=r"does not match|unconverted"):
            months_of([label])
