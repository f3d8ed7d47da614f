"""Periods of local time."""

from datetime import datetime

import pytest

from origin.shared.periods import Resolution, period_begin

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
