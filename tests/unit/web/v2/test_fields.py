"""Fields of version 2: percentages, times with offsets, half-open periods."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from origin.shared.periods import EARLIEST, LATEST, Period, day_begin
from origin.web.v2.schema import AwareTime, FullPeriodQuery, Percentage, PeriodBody, PeriodQuery

_COPENHAGEN = ZoneInfo("Europe/Copenhagen")
_BODY, _QUERY = PeriodBody(), PeriodQuery()
_PERCENTAGE = Percentage(metadata={})


@pytest.mark.parametrize("text", ["0.00001", "1", "12.5", "33.33333", "100", "100.00000", "0.1"])
def test_a_percentage_is_exact(text: str):
    assert _PERCENTAGE.deserialize(text) == Decimal(text)


@pytest.mark.parametrize(
    "value",
    [
        *("0", "0.00000", "100.00001", "101", "999", "1000", "0.000001", "-1", "+1", "1e1", "05"),
        *("", " 1", "1 ", "1\n", "1.", ".5", "1,5", "1%", "NaN", "\u0661", "1_0", "0x1"),
        *(1, 1.5, True, [], {}),
    ],
)
def test_any_other_percentage_is_wrong(value: Any):
    with pytest.raises(ValidationError):
        _PERCENTAGE.deserialize(value)


@given(st.integers(1, 10_000_000))
def test_every_percentage_of_five_decimals_is_taken(units: int):
    text = f"{units // 100_000}.{units % 100_000:05d}"
    assert _PERCENTAGE.deserialize(text) * 100_000 == units


def _utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("zone", "begin", "end", "hours"),
    [
        ("Europe/Copenhagen", "2026-03-29", "2026-03-30", 23),
        ("Europe/Copenhagen", "2026-10-25", "2026-10-26", 25),
        ("Europe/Copenhagen", "2026-03-01", "2026-04-01", 31 * 24 - 1),
        ("UTC", "2026-03-29", "2026-03-30", 24),
        # Clocks jump over midnight, or show it twice.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-05", 23),
        ("America/Havana", "2025-11-02", "2025-11-03", 25),
        ("Asia/Beirut", "2024-03-31", "2024-04-01", 23),
        # A day that was left out.
        ("Pacific/Apia", "2011-12-30", "2011-12-31", 0),
    ],
)
def test_dates_are_local_midnights(zone: str, begin: str, end: str, hours: int):
    period = _BODY.load({"from": begin, "to": end, "timeZone": zone})
    assert period.end - period.begin == timedelta(hours=hours)
    assert period.zone == ZoneInfo(zone)


_ZONES = [
    *("UTC", "Europe/Copenhagen", "America/New_York", "America/Sao_Paulo", "America/Havana"),
    *("Asia/Beirut", "Asia/Kolkata", "Africa/Cairo", "Pacific/Apia", "Australia/Lord_Howe"),
    *("America/Nuuk", "Asia/Gaza", "Africa/Casablanca", "Antarctica/Troll", "Pacific/Kiritimati"),
]


@given(
    st.dates(date(1970, 1, 2), date(2037, 12, 30)), st.sampled_from([ZoneInfo(z) for z in _ZONES])
)
def test_a_day_begins_with_its_first_moment(day: date, zone: ZoneInfo):
    begin = day_begin(day, zone)
    assert begin.tzinfo is UTC
    assert begin.astimezone(zone).date() >= day
    assert (begin - timedelta(microseconds=1)).astimezone(zone).date() < day
    assert day_begin(day + timedelta(1), zone) >= begin


def test_times_have_offsets_and_the_zone_stays():
    period = _BODY.load(
        {
            "from": "2026-03-01T00:00:00+01:00",
            "to": "2026-03-01T00:30:00Z",
            "timeZone": "Europe/Copenhagen",
        }
    )
    assert period == Period(_utc(2026, 2, 28, 23), _utc(2026, 3, 1, 0, 30), _COPENHAGEN)
    assert period.begin.tzinfo is UTC


def test_a_period_may_be_empty():
    period = _BODY.load({"from": "2026-03-01", "to": "2026-03-01"})
    assert period.begin == period.end == _utc(2026, 3, 1)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"from": "2026-03-01"}, {"to"}),
        ({"from": None, "to": "2026-03-01"}, {"from"}),
        ({"from": "2026-03-01", "to": "2026-03-02T00:00:00Z"}, {"to"}),
        ({"from": "2026-03-01T00:00:00Z", "to": "2026-03-02"}, {"to"}),
        ({"from": "2026-03-02", "to": "2026-03-01"}, {"to"}),
        ({"from": "2026-03-02T00:00:01Z", "to": "2026-03-02T01:00:00+01:00"}, {"to"}),
        ({"from": "2026-03-01T00:00:00", "to": "2026-03-02T00:00:00"}, {"from", "to"}),
        ({"from": "2026-02-29", "to": "2026-03-01"}, {"from"}),
        ({"from": "2026-W09-1", "to": "20260301"}, {"from", "to"}),
        ({"from": 1, "to": ["2026-03-01"]}, {"from", "to"}),
        ({"from": "0001-01-01", "to": "2026-03-01", "timeZone": "Europe/Copenhagen"}, {"from"}),
        ({"from": "2026-03-01", "to": "2026-03-02", "timeZone": "CET+1"}, {"timeZone"}),
        ({"from": "2026-03-01", "to": "2026-03-02", "timeZone": "europe/copenhagen"}, {"timeZone"}),
        ({"from": "2026-03-01", "to": "2026-03-02", "timeZone": "../../etc/passwd"}, {"timeZone"}),
        ({"from": "2026-03-01", "to": "2026-03-02", "timeZone": 1}, {"timeZone"}),
        ({"from": "2026-03-01", "to": "2026-03-02", "zone": "UTC"}, {"zone"}),
    ],
    ids=range(16),
)
def test_any_other_period_is_wrong(body: dict[str, Any], wrong: set[str]):
    with pytest.raises(ValidationError) as raised:
        _BODY.load(body)
    assert set(raised.value.normalized_messages()) == wrong


def test_a_query_may_leave_ends_open():
    assert _QUERY.load({})["period"] == Period(EARLIEST, LATEST, ZoneInfo("UTC"))
    half = _QUERY.load({"to": "2026-03-01", "timeZone": "Europe/Copenhagen"})["period"]
    assert half == Period(EARLIEST, _utc(2026, 2, 28, 23), _COPENHAGEN)
    with pytest.raises(ValidationError):
        FullPeriodQuery().load({"from": "2026-03-01"})


def test_a_time_needs_an_offset():
    field = AwareTime()
    assert field.deserialize("2026-01-01T01:00:00+01:00") == _utc(2026, 1, 1)
    for text in ("2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00+01:00"):
        with pytest.raises(ValidationError):
            field.deserialize(text)
