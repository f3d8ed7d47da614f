"""A GGO's expiry, by the rule in Python and in SQL."""

from datetime import UTC, datetime, timedelta

import pytest

from origin.ggos.queries.expiry import expired, is_not_expired, not_expired
from origin.ggos.rules.expiry import is_expired

EXPIRY = datetime(2021, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "expected"),
    [(timedelta(microseconds=-1), False), (timedelta(0), True), (timedelta(days=1), True)],
)
def test_a_ggo_is_expired_from_its_expire_time_on(after: timedelta, expected: bool):
    assert is_expired(EXPIRY, EXPIRY + after) is expected


def test_sql_has_the_same_rule():
    assert expired("now()") == "expire_time <= now()"
    assert not_expired("now()") == "expire_time > now()"
    assert str(is_not_expired(EXPIRY)) == "ggos.expire_time > :expire_time_1"
