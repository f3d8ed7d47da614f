"""What follows from an attempt to deliver a webhook."""

from datetime import UTC, datetime, timedelta

import pytest

from origin.webhooks.rules.deliveries import Outcome, ReceiverResponse, given_up_before, judge

EVENT_AT = datetime(2026, 1, 1, tzinfo=UTC)
LAST_RETRY_AT = EVENT_AT + timedelta(hours=24)


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (ReceiverResponse(200), Outcome.DELIVERED),
        (ReceiverResponse(204), Outcome.DELIVERED),
        (ReceiverResponse(410), Outcome.GONE),
        (ReceiverResponse(307), Outcome.RETRY),
        (ReceiverResponse(404), Outcome.RETRY),
        (ReceiverResponse(500), Outcome.RETRY),
        (ReceiverResponse(None, "no answer in time"), Outcome.RETRY),
    ],
)
def test_the_status_decides_within_a_day(response: ReceiverResponse, outcome: Outcome):
    assert judge(response, EVENT_AT, LAST_RETRY_AT) is outcome


@pytest.mark.parametrize("status", [None, 307, 500])
def test_a_failure_is_final_if_the_retry_would_be_later_than_a_day(status: int | None):
    too_late = LAST_RETRY_AT + timedelta(microseconds=1)
    assert judge(ReceiverResponse(status), EVENT_AT, too_late) is Outcome.GIVEN_UP


def test_success_and_410_count_at_any_age():
    too_late = LAST_RETRY_AT + timedelta(days=1)
    assert judge(ReceiverResponse(200), EVENT_AT, too_late) is Outcome.DELIVERED
    assert judge(ReceiverResponse(410), EVENT_AT, too_late) is Outcome.GONE


def test_deliveries_that_were_never_attempted_are_given_up_at_the_same_age():
    assert given_up_before(LAST_RETRY_AT) == EVENT_AT
