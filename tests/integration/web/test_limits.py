"""Limits of lengths and rates: each rejection names its limit."""

import io
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from devstack.configured import Redis, redis_databases
from origin.redis_servers import redis_client
from tests.integration.monitoring.test_metrics import scrape
from tests.support.market import Market
from tests.support.waiting import eventually


@pytest.fixture
def limited(new_market: Callable[..., Market], valkey: Redis) -> Market:
    """A market whose accounts may make three requests a minute."""
    market = new_market(
        rate_limit_per_minute=3,
        redis_host=valkey.host,
        redis_port=valkey.port,
        redis_username=valkey.username,
        redis_password=valkey.password,
        **{name.lower(): int(number) for name, number in redis_databases().items()},
    )
    # Accounts of other tests may have the same ids.
    with redis_client(market.settings, market.settings.redis_cache_db, 5) as client:
        for key in client.scan_iter("requests:*"):
            client.delete(key)
    return market


def test_an_account_is_rate_limited(limited: Market):
    alice, bob = limited.tokens["alice"], limited.tokens["bob"]
    statuses = [limited.post("/accounts", token=alice).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    rejected = limited.post("/accounts", token=alice)
    assert rejected.json == {"success": False, "message": "More than 3 requests in a minute"}
    assert 0 < int(rejected.headers["Retry-After"]) <= 60
    assert limited.post("/accounts", token=bob).status_code == 200
    # Redis's clock alone ends the window.
    with redis_client(limited.settings, limited.settings.redis_cache_db, 5) as client:
        key = f"requests:{limited.alice}"
        assert 0 < client.ttl(key) <= 60
        client.pexpire(key, 1)
        eventually(lambda: not client.exists(key), "the minute ends")
    assert limited.post("/accounts", token=alice).status_code == 200


def test_scopes_are_checked_before_the_rate_and_the_rate_before_the_body(limited: Market):
    """A request without the scope is not counted."""
    alice, unscoped = limited.tokens["alice"], limited.token("alice", scope="openid")
    statuses = [limited.post("/ggo", {}, token).status_code for token in [unscoped] * 4]
    assert statuses == [403] * 4
    statuses = [limited.post("/ggo", {"wrong": 1}, alice).status_code for _ in range(4)]
    assert statuses == [400, 400, 400, 429]
    assert limited.post("/ggo", {}, unscoped).status_code == 403


def test_without_redis_no_request_is_limited(new_market: Callable[..., Market]):
    market = new_market(rate_limit_per_minute=1)
    before = scrape(market)
    alice = market.tokens["alice"]
    assert [market.post("/accounts", token=alice).status_code for _ in range(3)] == [200] * 3
    failures = "rate_limit_failures_total"
    # After the first failure Redis is not asked for a while.
    assert scrape(market).value(failures) - before.value(failures) == 1


def test_a_long_body_is_rejected_with_the_limit(new_market: Callable[..., Market]):
    market = new_market(max_body_bytes=100)
    answer = market.post("/ggo", {"filters": {"address": ["x" * 100]}}, market.tokens["alice"])
    assert answer.status_code == 413
    assert answer.json == {"success": False, "message": "The body is longer than 100 bytes"}


_LENGTH = 1000


class _NeverComes(io.RawIOBase):
    """A body that never arrives, read as gunicorn's greenlets read."""

    _at = 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """The test client calls this for the length."""
        self._at = _LENGTH if whence == io.SEEK_END else offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, _buffer: Any) -> int:
        gevent.sleep(60)
        return 0


def test_the_wait_for_a_body_is_bounded(
    new_market: Callable[..., Market], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("origin.web.bodies.is_module_patched", lambda _: True)
    market = new_market(body_time_limit=0.05)
    answer = market.client().post(
        "/ggo",
        headers={"Authorization": f"Bearer {market.tokens['alice']}"},
        input_stream=_NeverComes(),
    )
    assert answer.status_code == 408
    assert answer.json == {
        "success": False,
        "message": "The body took longer than 0.05 s to arrive",
    }
