"""Answers fetched ahead of those that are worked on."""

import threading
from contextlib import closing
from contextvars import ContextVar

import pytest

from origin.peers.prefetch import prefetch

WHOSE = ContextVar("whose", default="nobody's")


def test_all_come_in_order_each_fetched_before_its_forerunner_is_done_with():
    """In the caller's context, by which a call is told to be of its request."""
    fetching = [threading.Event() for _ in range(4)]
    WHOSE.set("ours")

    def fetch(key: int) -> tuple[tuple[int, str], int | None]:
        fetching[key].set()
        return (key, WHOSE.get()), key + 1 if key < 3 else None

    found = []
    for each in prefetch(fetch, 0):
        # Work that lasts until the next is on its way.
        assert fetching[min(each[0] + 1, 3)].wait(10)
        found.append(each)
    assert found == [(key, "ours") for key in range(4)]


def test_what_a_call_raises_arrives_in_its_turn():
    def fetch(key: int) -> tuple[int, int | None]:
        if key == 2:
            raise ValueError("no more")
        return key, key + 1

    answers = prefetch(fetch, 0)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ValueError, match="no more"):
        next(answers)


def test_who_stops_early_waits_for_nothing_and_asks_no_further():
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
        # On a busy machine it may not have begun yet, and then it never does.
        assert begun.wait(10)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(10)
    assert asked == [0, 1]
