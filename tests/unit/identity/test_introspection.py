"""Concurrent introspections of one token share a single call of Hydra."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from origin.errors import PeerError, PeerUnavailable
from origin.identity.client import Introspection
from origin.identity.service.introspection import IntrospectionCache

_ALICE = Introspection("alice", frozenset({"profile"}), None)
_CALLS = 8


class _Hydra:
    """A Hydra that answers when the test releases it."""

    def __init__(self, answer: Callable[[], Introspection | None]) -> None:
        self._answer = answer
        self.called = threading.Semaphore(0)
        self.released = threading.Event()
        self.calls = 0

    def introspect(self, _token: str) -> Introspection | None:
        self.calls += 1
        self.called.release()
        assert self.released.wait(10)
        return self._answer()


def _concurrently(
    hydra: _Hydra, *, calls: int = 1, cached: bool = True, cache_s: float = 5
) -> list[Future[Introspection | None]]:
    """Introspect one token concurrently; Hydra answers after this many calls of it."""
    cache = IntrospectionCache(hydra, cache_s)  # type: ignore[arg-type] # all that is called of it
    begun = threading.Barrier(_CALLS + 1)

    def call() -> Introspection | None:
        begun.wait(10)
        return cache.introspect("token", cached=cached)

    with ThreadPoolExecutor(_CALLS) as pool:
        answers = [pool.submit(call) for _ in range(_CALLS)]
        begun.wait(10)
        for _ in range(calls):
            assert hydra.called.acquire(timeout=10)
        hydra.released.set()
    return answers


def test_one_call_answers_all_requests() -> None:
    hydra = _Hydra(lambda: _ALICE)
    assert [each.result() for each in _concurrently(hydra)] == [_ALICE] * _CALLS
    assert hydra.calls == 1


@pytest.mark.parametrize("how", [{"cached": False}, {"cache_s": 0}])
def test_requests_that_must_not_use_the_cache_each_call_hydra(how: dict[str, float]) -> None:
    hydra = _Hydra(lambda: _ALICE)
    answers = _concurrently(hydra, calls=_CALLS, **how)  # type: ignore[arg-type] # one of both
    assert [each.result() for each in answers] == [_ALICE] * _CALLS
    assert hydra.calls == _CALLS


def test_an_inactive_token_is_inactive_for_all() -> None:
    answers = _concurrently(_Hydra(lambda: None))
    assert [each.result() for each in answers] == [None] * _CALLS


def test_an_unavailable_hydra_fails_all() -> None:
    def fail() -> None:
        raise PeerUnavailable("Hydra", "Timeout")

    for answer in _concurrently(_Hydra(fail)):
        assert isinstance(answer.exception(), PeerError)


def test_requests_that_wait_for_an_interrupted_call_make_their_own() -> None:
    is_first = iter([True])

    def interrupt() -> Introspection:
        if next(is_first, False):
            raise KeyboardInterrupt
        return _ALICE

    errors = [answer.exception() for answer in _concurrently(_Hydra(interrupt))]
    assert [type(error) for error in errors if error is not None] == [KeyboardInterrupt]
