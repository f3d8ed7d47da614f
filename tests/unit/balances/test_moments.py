"""Waiting for orders that are being written."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from origin.balances.rules.balance import MomentOpen
from origin.balances.service import moments

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class _Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the database was asked about a writer that stays."""
    clock, asked = _Clock(), list[float]()
    writers = (moments.queries.Writer("7", NOW - timedelta(seconds=1)),)

    def still_open(*_: Any) -> Any:
        asked.append(clock.now)
        return writers

    look = moments.queries.Look(NOW, None, writers)
    monkeypatch.setattr(moments, "time", clock)
    monkeypatch.setattr(moments.queries, "look", lambda *_: look)
    monkeypatch.setattr(moments.queries, "still_open", still_open)
    return asked


def test_a_long_order_is_looked_at_ever_more_rarely(looks: list[float]):
    """A look for each 5 ms of 10 s would burden the database, if many clients ask about a moment."""
    with pytest.raises(MomentOpen):
        moments.Moments(Mock()).at(1, NOW)
    assert looks[0] == 0.005
    assert 10 <= looks[-1] < 10.2
    assert len(looks) < 150


def test_an_answer_about_now_waits_for_a_quarter_of_a_second(looks: list[float]):
    moment = moments.Moments(Mock()).now(1)
    assert moment.at == NOW - timedelta(seconds=1, microseconds=1)
    assert 0.25 <= looks[-1] < 0.35
