"""Calls that come together for one token: one introspection answers all that may share it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from origin.errors import PeerError, PeerUnavailable
from origin.identity.client import Introspection
from origin.identity.service.introspection import BearerTokens

_WORTH = Introspection("alice", frozenset({"profile"}), None)
_CALLS = 8


class _Hydra:
    """Answers when it is let."""

    def __init__(self, answer: Callable[[], Introspection | None]) -> None:
        self._answer = answer
        self.asked = threading.Semaphore(0)
        self.let = threading.Event()
        self.calls = 0

    def introspect(self, _token: str) -> Introspection | None:
        self.calls += 1
        self.asked.release()
        assert self.let.wait(10)
        return self._answer()


def _together(
    hydra: _Hydra, *, asked: int = 1, cached: bool = True, cache_s: float = 5
) -> list[Future[Introspection | None]]:
    """What calls came to that were made before Hydra, asked so often, answers."""
    tokens = BearerTokens(hydra, cache_s)  # type: ignore[arg-type] # all that is called of it
    begun = threading.Barrier(_CALLS + 1)

    def call() -> Introspection | None:
        begun.wait(10)
        return tokens.worth("token", cached=cached)

    with ThreadPoolExecutor(_CALLS) as pool:
        answers = [pool.submit(call) for _ in range(_CALLS)]
        begun.wait(10)
        for _ in range(asked):
            assert hydra.asked.acquire(timeout=10)
        hydra.let.set()
    return answers


def test_one_introspection_answers_all() -> None:
    hydra = _Hydra(lambda: _WORTH)
    assert [each.result() for each in _together(hydra)] == [_WORTH] * _CALLS
    assert hydra.calls == 1


@pytest.mark.parametrize("how", [{"cached": False}, {"cache_s": 0}])
def test_who_needs_an_answer_of_now_asks(how: dict[str, float]) -> None:
    hydra = _Hydra(lambda: _WORTH)
    answers = _together(hydra, asked=_CALLS, **how)  # type: ignore[arg-type] # one of both
    assert [each.result() for each in answers] == [_WORTH] * _CALLS
    assert hydra.calls == _CALLS


def test_a_token_worth_nothing_is_so_for_all() -> None:
    answers = _together(_Hydra(lambda: None))
    assert [each.result() for each in answers] == [None] * _CALLS


def test_a_hydra_out_of_reach_is_so_for_all() -> None:
    def fail() -> None:
        raise PeerUnavailable("Hydra", "Timeout")

    for answer in _together(_Hydra(fail)):
        assert isinstance(answer.exception(), PeerError)


def test_who_waits_for_one_that_is_interrupted_asks() -> None:
    is_first = iter([True])

    def interrupt() -> Introspection:
        if next(is_first, False):
            raise KeyboardInterrupt
        return _WORTH

    errors = [answer.exception() for answer in _together(_Hydra(interrupt))]
    assert [type(error) for error in errors if error is not None] == [KeyboardInterrupt]
