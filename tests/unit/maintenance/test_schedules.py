"""When periodic work is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.maintenance.rules.schedules import At, Every, is_due

HOURLY, TWICE, NIGHTLY = At((5,)), At((15, 45)), At((30,), hour=2)
moments = st.datetimes(
    min_value=datetime(2026, 1, 1),  # noqa: DTZ001 - hypothesis wants naive ones
    max_value=datetime(2027, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-{text}:00+00:00")


@pytest.mark.parametrize(
    ("rule", "now", "latest"),
    [
        (HOURLY, "02 10:05", "02 10:05"),
        (HOURLY, "02 10:04", "02 09:05"),
        (HOURLY, "02 00:04", "01 23:05"),
        (TWICE, "02 10:14", "02 09:45"),
        (TWICE, "02 10:44", "02 10:15"),
        (TWICE, "02 10:59", "02 10:45"),
        (NIGHTLY, "02 02:30", "02 02:30"),
        (NIGHTLY, "02 02:29", "01 02:30"),
        (NIGHTLY, "02 23:59", "02 02:30"),
        (NIGHTLY, "01 00:00", "28 02:30"),
    ],
)
def test_the_latest_minute(rule: At, now: str, latest: str):
    expected = at(latest) if latest[:2] != "28" else datetime(2026, 2, 28, 2, 30, tzinfo=UTC)
    assert rule.latest(at(now)) == expected


@given(moments, st.sampled_from([HOURLY, TWICE, NIGHTLY]))
def test_a_run_makes_it_no_longer_due_and_the_next_minute_makes_it_due(now: datetime, rule: At):
    assert not is_due(rule, now, None, now)
    latest = rule.latest(now)
    assert latest <= now < latest + timedelta(days=1)
    assert is_due(rule, latest - timedelta(microseconds=1), None, now)
    assert not is_due(rule, latest, None, now)


def test_an_interval_counts_from_the_begin_of_the_last_run():
    hourly, began = Every(timedelta(hours=1)), at("02 10:00")
    assert not is_due(hourly, began, None, began + timedelta(minutes=59))
    assert is_due(hourly, began, None, began + timedelta(hours=1))


@given(moments, st.integers(0, 7200))
def test_one_that_is_under_way_keeps_others_off_but_not_for_ever(now: datetime, seconds: int):
    claimed_at = now - timedelta(seconds=seconds)
    last = now - timedelta(days=2)
    assert is_due(NIGHTLY, last, claimed_at, now) is (seconds >= 600)
    assert is_due(Every(timedelta(hours=1)), last, claimed_at, now) is (seconds >= 3600)


@given(moments)
def test_times_of_a_clock_that_was_set_back_keep_nothing_off(now: datetime):
    future = now + timedelta(days=1)
    assert is_due(NIGHTLY, future, None, now)
    assert is_due(NIGHTLY, future, future, now)
