"""Declarations with a DataHub that takes its real time per row (contract: peers.md, `/measurements`)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.declarations.consumer import Consumer
from tests.support.waiting import eventually

YEAR = datetime(2021, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 8760
ROW_S = 0.0027
"""The time that the real DataHub takes per row."""
HOURLY, QUARTERLY, SWITCHED = "571313180400000500", "571313180400000501", "571313180400000502"
QUARTER = timedelta(minutes=15)


@pytest.fixture
def slow(consumer: Consumer) -> Iterator[Consumer]:
    """The market, with a DataHub that needs `ROW_S` per row."""
    datahub = consumer.sandbox.datahub
    datahub.settings(row_seconds=ROW_S)
    yield consumer
    datahub.settings(row_seconds=0, page_limit=1000)


def add_points(consumer: Consumer, *gsrns: str) -> None:
    """Give Alice more consumption points."""
    points = [
        {"sub": "alice", "gsrn": each, "type": "consumption", "sector": "DK1"} for each in gsrns
    ]
    consumer.sandbox.datahub.add_meteringpoints(points, webhooks="none")
    assert consumer.webhook("on-meteringpoints-available", {"sub": "alice"}).json["success"]
    while consumer.run_jobs():
        pass


def test_a_year_of_fifty_hourly_points(slow: Consumer) -> None:
    """The sums by hour suffice; page by page it would take DataHub 20 minutes."""
    gsrns = [f"57131318041{number:07}" for number in range(50)]
    add_points(slow, *gsrns)
    amounts = {
        gsrn: [1000 + 10 * number + hour % 7 for hour in range(HOURS)]
        for number, gsrn in enumerate(gsrns)
    }
    for gsrn in gsrns:
        slow.sandbox.datahub.publish_series(gsrn, YEAR, amounts[gsrn])
    slow.sandbox.datahub.forget_calls()
    individual, general = slow.declared(
        YEAR, YEAR + (HOURS - 1) * HOUR, gsrn=gsrns, resolution="month"
    )
    assert individual["totalConsumedAmount"] == sum(map(sum, amounts.values()))
    january = sum(sum(each[: 31 * 24]) for each in amounts.values())
    assert individual["consumedAmount"]["2021-01-01T00:00:00+00:00"] == january
    assert len(individual["consumedAmount"]) == len(general["consumedAmount"]) == 12
    # One row per point, and the sums of four points at a time.
    assert slow.sandbox.datahub.count("POST /measurements") == 50
    assert slow.sandbox.datahub.count("POST /measurements/summary") == 13


def test_quarter_hours_with_retired_ggos_are_read_by_pages(slow: Consumer) -> None:
    """So are those of a point that changes from hours to quarter-hours; an hourly point is read by sums."""
    datahub = slow.sandbox.datahub
    add_points(slow, HOURLY, QUARTERLY, SWITCHED)
    begin, days = YEAR + timedelta(days=400), 6
    half = begin + timedelta(days=days / 2)
    # A retired GGO belongs to its quarter-hour and covers no other one.
    datahub.publish(QUARTERLY, begin, 100, end=begin + QUARTER)
    ggo = slow.issue(150, begin, end=begin + QUARTER)
    assert slow.compose(ggo, retires=[(70, QUARTERLY)]).json["success"]
    datahub.publish_series(QUARTERLY, begin + QUARTER, [10] * (days * 96 - 1), seconds=900)
    datahub.publish_series(HOURLY, begin, [1000] * (days * 24))
    datahub.publish_series(SWITCHED, begin, [4] * (days * 12))
    datahub.publish_series(SWITCHED, half, [1] * (days * 48), seconds=900)
    datahub.forget_calls()
    individual, _ = slow.declared(
        begin,
        begin + days * timedelta(days=1) - QUARTER,
        gsrn=[HOURLY, QUARTERLY, SWITCHED],
        resolution="hour",
    )
    hours = [(begin + number * HOUR).isoformat() for number in range(days * 24)]
    assert individual["consumedAmount"] == {
        hour: 1000 + (40 if number else 130) + 4 for number, hour in enumerate(hours)
    }
    assert individual["retiredAmount"] == dict.fromkeys(hours, 0) | {hours[0]: 70}
    # One row per point; and the two points with quarter-hours have 936 rows, which fit into a page.
    assert datahub.count("POST /measurements") == 3 + 1
    assert datahub.count("POST /measurements/summary") == 1


def test_a_year_of_quarter_hours_without_retired_ggos_is_read_by_sums(slow: Consumer) -> None:
    """Row by row it would take DataHub a minute and a half."""
    gsrn, begin = "571313180400000510", YEAR + timedelta(days=800)
    add_points(slow, gsrn)
    slow.sandbox.datahub.publish_series(gsrn, begin, [25] * HOURS * 4, seconds=900)
    slow.sandbox.datahub.forget_calls()
    individual, _ = slow.declared(begin, begin + (HOURS - 1) * HOUR, gsrn=[gsrn], resolution="day")
    # The range ends with the first quarter of its last hour.
    assert individual["totalConsumedAmount"] == 100 * HOURS - 75
    assert slow.sandbox.datahub.count("POST /measurements") == 1


def test_a_call_that_timed_out_is_not_repeated_at_once(
    slow: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    datahub = slow.sandbox.datahub
    begin = YEAR + timedelta(days=500)
    monkeypatch.setattr("origin.peers.datahub.ROWS_WITHIN_S", 2.0)
    datahub.fault("/measurements/summary", delay_before=30, times=None)
    datahub.forget_calls()
    for _ in range(3):
        answer = slow.ask(begin, begin + 200 * HOUR)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert datahub.count("POST /measurements/summary") == 1
    datahub.clear_faults()
    eventually(
        lambda: slow.ask(begin, begin + 200 * HOUR).status_code == 200, "the call, made again"
    )
