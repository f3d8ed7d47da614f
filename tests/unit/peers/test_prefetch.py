"""Prefetching: the next call runs while the caller works on the current result."""

import threading
from contextlib import closing
from contextvars import ContextVar

import pytest

from origin.peers.prefetch import prefetch

WHOSE = ContextVar("whose", default="nobody's")


def test_results_come_in_order_and_the_next_call_is_already_running():
    """Calls run in the caller's context variables, which hold the request id."""
    fetching = [threading.Event() for _ in range(4)]
    WHOSE.set("ours")

    def fetch(key: int) -> tuple[tuple[int, str], int | None]:
        fetching[key].set()
        return (key, WHOSE.get()), key + 1 if key < 3 else None

    found = []
    for each in prefetch(fetch, 0):
        # Works until the next call has started.
        assert fetching[min(each[0] + 1, 3)].wait(10)
        found.append(each)
    assert found == [(key, "ours") for key in range(4)]


def test_an_exception_of_a_call_is_raised_in_order():
    def fetch(key: int) -> tuple[int, int | None]:
        if key == 2:
            raise ValueError("no more")
        return key, key + 1

    answers = prefetch(fetch, 0)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ValueError, match="no more"):
        next(answers)


def test_stopping_early_does_not_wait_and_makes_no_further_calls():
    asked, begun, go_on, ended = [], threading.Event(), threading.Event(), threading.Event()

    def fetch(key: int) -> tuple[int, int | None]:
        asked.append(key)
        if key == 1:
            begun.set()
            assert go_on.wait(10)
            ended.set()
        return key, key + 1

    with closing(prefetch(fetch, 0)) as pages:
        assert next(pages) == 0
        # Without this wait, a slow machine might cancel the call before it starts.
        assert begun.wait(10)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(10)
    assert asked == [0, 1]
