"""The limits of orders and plans."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from origin.bulk.rules.limits import (
    TooMany,
    check_dry_run,
    check_plan_size,
    check_request_size,
    is_planned_in_request,
)

_COPENHAGEN = ZoneInfo("Europe/Copenhagen")


def _utc(*date: int) -> datetime:
    return datetime(*date, tzinfo=UTC)


def _local(*date: int) -> datetime:
    return datetime(*date, tzinfo=_COPENHAGEN)


def test_a_request_at_its_limits_is_allowed():
    check_request_size(100, {"address": 10_000, "gsrn": 10_000}, [])


@pytest.mark.parametrize(
    ("targets", "lists", "count"),
    [(101, {}, 101), (1, {"sector": 1, "address": 10_001}, 10_001), (500, {"sector": 20_000}, 500)],
)
def test_too_many_targets_or_entries_of_one_list(targets, lists, count):
    with pytest.raises(TooMany) as caught:
        check_request_size(targets, lists, [])
    assert caught.value.count == count
    assert caught.value.code == "too_many"


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (_utc(2026, 1, 1), _utc(2028, 1, 1)),
        (_utc(2026, 3, 1), _utc(2028, 3, 1)),  # with a leap day
        (_utc(2024, 2, 29), _utc(2026, 2, 28)),
        (_utc(9998, 6, 1), _utc(9999, 12, 31)),
        # An hour longer by the sun: summer time holds at the begin and not at the end.
        (_local(2024, 10, 27), _local(2026, 10, 27)),
        (
            datetime(2024, 10, 27, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 10, 27, tzinfo=timezone(timedelta(hours=1))),
        ),
    ],
)
def test_a_period_of_two_years_is_allowed(begin, end):
    check_request_size(1, {}, [(begin, end)])


@pytest.mark.parametrize(
    ("begin", "end", "count"),
    [
        (_utc(2026, 1, 1), _utc(2028, 1, 2), 3),
        (_utc(2026, 1, 1), datetime(2028, 1, 1, 0, 0, 0, 1, UTC), 3),
        (_utc(2024, 1, 1), _utc(2026, 1, 2), 3),
        (_utc(2024, 2, 29), _utc(2026, 3, 1), 3),
        (_utc(2026, 2, 28), _utc(2028, 2, 29), 3),
        (_local(2026, 1, 1), _local(2036, 1, 1), 10),
    ],
)
def test_a_longer_period_is_too_long(begin, end, count):
    with pytest.raises(TooMany) as caught:
        check_request_size(1, {}, [(_utc(2026, 1, 1), _utc(2026, 1, 2)), (begin, end)])
    assert (caught.value.count, caught.value.most) == (count, 2)


def test_a_plan_at_its_limits_is_allowed():
    check_plan_size(10_000, 20_000, 1_000)


@pytest.mark.parametrize(
    ("size", "what", "count"),
    [
        ((10_001, 20_001, 1_001), "source GGOs", 10_001),
        ((20, 20_001, 1_001), "parts of one GGO", 1_001),
        ((10_000, 20_001, 3), "parts", 20_001),
    ],
)
def test_a_plan_beyond_a_limit(size, what, count):
    with pytest.raises(TooMany) as caught:
        check_plan_size(*size)
    assert (caught.value.what, caught.value.count) == (what, count)


@pytest.mark.parametrize(
    ("candidates", "paged", "expected"),
    [(500, 2_000, True), (501, 0, False), (1, 2_001, False)],
)
def test_a_large_order_is_planned_by_a_worker(candidates, paged, expected):
    assert is_planned_in_request(candidates, paged) is expected


def test_a_dry_run_reads_no_more_pages_than_a_request():
    check_dry_run(2_000)
    with pytest.raises(TooMany) as caught:
        check_dry_run(2_001)
    assert caught.value.count == 2_001
