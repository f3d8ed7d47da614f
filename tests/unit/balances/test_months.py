"""Local months, by which balances are grouped."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from origin.balances.rules.balance import month_begins
from origin.keys.derivation import HARDENED

LAST = datetime.fromtimestamp(HARDENED - 1, UTC)


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Copenhagen", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]
)
def test_each_moment_belongs_to_its_local_month(name: str):
    """From the first moment for which there are keys to the last, around each begin of a month."""
    zone = ZoneInfo(name)
    names, begins = zip(*month_begins(zone).items(), strict=True)
    assert list(begins) == sorted(begins)
    steps = [timedelta(seconds=each) for each in (-86_400, -1, 0, 1, 86_400)]
    moments = [datetime.fromtimestamp(0, UTC), LAST, *(b + step for b in begins for step in steps)]
    for moment in moments:
        if 0 <= moment.timestamp() < HARDENED:
            found = names[bisect_right(begins, moment) - 1]
            assert found == f"{moment.astimezone(zone):%Y-%m}", moment
