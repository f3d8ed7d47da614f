"""After a timeout, equal calls are blocked for as long as the call waited."""

import pytest

from origin.errors import PeerTooSlow, PeerUnavailable
from origin.peers import recent_timeouts
from origin.peers.recent_timeouts import RecentTimeouts


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(recent_timeouts, "time", clock)
    return clock


def _call(
    calls: RecentTimeouts, clock: _Clock, body: bytes, error: Exception | None = None
) -> bool:
    """Make a call that fails with this error after a minute; return whether it was made."""
    made = False
    try:
        with calls.guard("DataHubService", "/ggo", body):
            made = True
            if error is not None:
                clock.now += 60
                raise error
    except PeerUnavailable:
        pass
    return made


def test_a_call_is_blocked_for_as_long_as_it_waited(clock: _Clock) -> None:
    calls, slow = RecentTimeouts(), PeerTooSlow("DataHubService", "ReadTimeoutError")
    assert _call(calls, clock, b"a", slow)
    assert not _call(calls, clock, b"a")
    assert _call(calls, clock, b"b")
    clock.now += 59
    assert not _call(calls, clock, b"a")
    clock.now += 1
    assert _call(calls, clock, b"a", slow)
    assert not _call(calls, clock, b"a")


def test_other_failures_do_not_block(clock: _Clock) -> None:
    calls = RecentTimeouts()
    assert _call(calls, clock, b"a", PeerUnavailable("DataHubService", "/ggo answered 503"))
    assert _call(calls, clock, b"a")


def test_the_memory_of_timeouts_is_bounded(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_timeouts, "_MAX_REMEMBERED", 2)
    calls, slow = RecentTimeouts(), PeerTooSlow("DataHubService", "ReadTimeoutError")
    for body in (b"a", b"b", b"c"):
        assert _call(calls, clock, body, slow)
    # The first block had expired when the third timeout was recorded.
    assert [_call(calls, clock, body) for body in (b"a", b"c")] == [True, False]
