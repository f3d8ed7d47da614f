"""Periods of local time."""

from datetime import UTC, datetime, timedelta

import pytest

from origin.shared.periods import Resolution, numbered_period, period_begin, period_number

TIME = datetime(2020, 3, 29, 14, 45, 30, 7)  # noqa: DTZ001 - local


@pytest.mark.parametrize(
    ("resolution", "begin"),
    [
        (Resolution.YEAR, "2020-01-01T00:00:00"),
        (Resolution.MONTH, "2020-03-01T00:00:00"),
        (Resolution.DAY, "2020-03-29T00:00:00"),
        (Resolution.HOUR, "2020-03-29T14:00:00"),
    ],
)
def test_the_begin_of_a_period(resolution: Resolution, begin: str):
    assert period_begin(TIME, resolution).isoformat() == begin


def test_all_time_has_no_begin():
    with pytest.raises(ValueError, match="ALL"):
        period_begin(TIME, Resolution.ALL)


@pytest.mark.parametrize("resolution", [each for each in Resolution if each is not Resolution.ALL])
def test_successive_periods_have_successive_numbers(resolution: Resolution):
    first = datetime(2023, 11, 30, 22, tzinfo=UTC)
    begins = [period_begin(first + timedelta(hours=hours), resolution) for hours in range(24 * 500)]
    each_once = list(dict.fromkeys(begins))
    numbers = [period_number(begin, resolution) for begin in each_once]
    assert numbers == list(range(numbers[0], numbers[0] + len(each_once)))
    assert [numbered_period(number, resolution, UTC) for number in numbers] == each_once
