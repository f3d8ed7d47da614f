"""Backoff grows up to a limit, with jitter."""

from hypothesis import given
from hypothesis import strategies as st

from origin.shared.retries import JITTER, MAX_FACTOR, backoff_s


@given(first=st.floats(0.01, 1000), attempts=st.integers(0, 10**6))
def test_a_delay_stays_between_the_first_and_the_longest(first: float, attempts: int):
    delay = backoff_s(first, attempts)
    assert first * (1 - JITTER) <= delay <= first * MAX_FACTOR * (1 + JITTER)


def test_delays_are_jittered():
    assert len({backoff_s(10, 1) for _ in range(20)}) > 1
