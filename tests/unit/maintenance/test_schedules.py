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
    ("schedule", "now", "latest"),
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
def test_the_latest_minute(schedule: At, now: str, latest: str):
    expected = at(latest) if latest[:2] != "28" else datetime(2026, 2, 28, 2, 30, tzinfo=UTC)
    assert schedule.latest(at(now)) == expected


@given(moments, st.sampled_from([HOURLY, TWICE, NIGHTLY]))
def test_work_is_due_until_it_runs_and_again_at_the_next_minute(now: datetime, schedule: At):
    assert not is_due(schedule, now, None, now)
    latest = schedule.latest(now)
    assert latest <= now < latest + timedelta(days=1)
    assert is_due(schedule, latest - timedelta(microseconds=1), None, now)
    assert not is_due(schedule, latest, None, now)


def test_a_period_counts_from_the_begin_of_the_last_run():
    hourly, began = Every(timedelta(hours=1)), at("02 10:00")
    assert not is_due(hourly, began, None, began + timedelta(minutes=59))
    assert is_due(hourly, began, None, began + timedelta(hours=1))


@given(moments, st.integers(0, 7200))
def test_a_run_under_way_blocks_the_next_but_not_for_ever(now: datetime, seconds: int):
    claimed_at = now - timedelta(seconds=seconds)
    last = now - timedelta(days=2)
    assert is_due(NIGHTLY, last, claimed_at, now) is (seconds >= 600)
    assert is_due(Every(timedelta(hours=1)), last, claimed_at, now) is (seconds >= 3600)


@given(moments)
def test_times_in_the_future_block_nothing(now: datetime):
    future = now + timedelta(days=1)
    assert is_due(NIGHTLY, future, None, now)
    assert is_due(NIGHTLY, future, future, now)
