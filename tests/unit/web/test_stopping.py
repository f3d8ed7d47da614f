"""A web that says at SIGTERM that it isn't ready, and stops later."""

import signal
import threading
from collections.abc import Iterator

import pytest

from origin.web.gunicorn import stopping


@pytest.fixture
def stops() -> Iterator[list[int]]:
    """Gunicorn's handler of SIGTERM, which notes each call."""
    calls: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGTERM, lambda number, _: calls.append(number))
    yield calls
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    stopping._flag[0] = 0


def test_it_stops_at_once_by_default(stops: list[int]):
    stopping.announce_at_sigterm(0)
    signal.raise_signal(signal.SIGTERM)
    assert (stops, stopping.is_stopping()) == ([signal.SIGTERM], False)


def test_it_is_not_ready_first_and_stops_later(stops: list[int]):
    stopping.announce_at_sigterm(0.05)
    assert not stopping.is_stopping()
    signal.raise_signal(signal.SIGTERM)
    assert (stops, stopping.is_stopping()) == ([], True)
    for _ in range(600):
        if stops:
            break
        threading.Event().wait(0.05)
    assert stops == [signal.SIGTERM]


def test_a_second_sigterm_does_not_wait(stops: list[int]):
    stopping.announce_at_sigterm(600)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert stops == [signal.SIGTERM]
