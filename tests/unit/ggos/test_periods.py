"""Periods as a summary looks them up: each time lies in the one whose label local time gives."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.ggos.rules.summaries import MAX_PERIODS, Resolution, label_of, periods

COARSE = [Resolution.DAY, Resolution.MONTH, Resolution.YEAR]

times = st.integers(0, 2**31 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
zones = st.one_of(
    st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours))),
    st.sampled_from(sorted(available_timezones())).map(ZoneInfo),
)


def plain_label(time: datetime, resolution: Resolution, zone: tzinfo) -> str:
    return label_of(time.astimezone(zone), resolution)


def found_label(time: datetime, labels: list[str], begins: list[str]) -> str:
    """As PostgreSQL's width_bucket does it."""
    moments = [datetime.fromisoformat(begin) for begin in begins]
    return labels[bisect_right(moments, time) - 1]


@settings(max_examples=300, deadline=None)
@given(
    begin=times,
    length=st.timedeltas(timedelta(0), timedelta(days=1500)),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=10),
    resolution=st.sampled_from(COARSE),
    zone=zones,
)
def test_a_time_lies_in_the_period_of_its_label(
    begin: datetime,
    length: timedelta,
    shares: list[float],
    resolution: Resolution,
    zone: tzinfo,
):
    found = periods(begin, begin + length, resolution, zone)
    if found is None:
        return
    assert len(found.labels) == len(found.begins) == len(set(found.labels))
    for share in (0, *shares, 1):
        time = begin + length * share
        label = found_label(time, list(found.labels), list(found.begins))
        assert label == plain_label(time, resolution, zone)


@pytest.mark.parametrize("resolution", COARSE)
@pytest.mark.parametrize("name", ["Europe/Copenhagen", "America/Sao_Paulo", "Australia/Lord_Howe"])
def test_every_hour_of_years_with_changes(resolution: Resolution, name: str):
    zone = ZoneInfo(name)
    begin = datetime(2008, 12, 1, tzinfo=UTC)
    hours = [begin + timedelta(hours=number) for number in range(24 * 800)]
    found = periods(hours[0], hours[-1], resolution, zone)
    assert found is not None
    moments = [datetime.fromisoformat(each) for each in found.begins]
    for hour in hours:
        label = found.labels[bisect_right(moments, hour) - 1]
        assert label == plain_label(hour, resolution, zone)


def test_a_day_that_comes_twice_or_never_is_left_to_the_database():
    """St. John's set its clocks back at a minute past midnight; Apia left out 30 December 2011."""
    year = (datetime(1999, 1, 1, tzinfo=UTC), datetime(1999, 12, 31, tzinfo=UTC))
    assert periods(*year, Resolution.DAY, ZoneInfo("America/St_Johns")) is None
    assert periods(*year, Resolution.MONTH, ZoneInfo("America/St_Johns")) is not None
    year = (datetime(2011, 1, 1, tzinfo=UTC), datetime(2011, 12, 31, tzinfo=UTC))
    assert periods(*year, Resolution.DAY, ZoneInfo("Pacific/Apia")) is None


def test_too_many_periods_are_left_to_the_database():
    begin = datetime(1971, 1, 1, tzinfo=UTC)
    assert periods(begin, begin + timedelta(days=MAX_PERIODS - 1), Resolution.DAY, UTC)
    assert periods(begin, begin + timedelta(days=MAX_PERIODS), Resolution.DAY, UTC) is None


def test_the_ends_of_the_calendar_are_left_to_the_database():
    end = datetime(9999, 12, 31, 23, tzinfo=UTC)
    assert periods(end, end, Resolution.DAY, timezone(timedelta(hours=5))) is None
    assert periods(end, end, Resolution.YEAR, UTC) is None
