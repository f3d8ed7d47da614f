"""After a failover, Redis's address leads to a new server; the old one goes on as a replica."""

from collections.abc import Callable, Iterator

import pytest

from devstack.valkey import EmbeddedValkey
from origin.identity.service import rate_limits
from origin.identity.service.rate_limits import RateLimits
from origin.settings import Settings
from origin.tasks import sending
from origin.tasks.celery import BATCHES
from origin.tasks.sending import MAX_WAITING, WakeupSender
from tests.support.market import Market
from tests.support.port_forwarder import Forwarder, forwarding

QUEUE = "celery"


@pytest.fixture
def old() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def new(old: EmbeddedValkey) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(password=old.password) as server:
        yield server


@pytest.fixture
def address(old: EmbeddedValkey) -> Iterator[Forwarder]:
    with forwarding(old.host, old.port) as forwarder:
        yield forwarder


@pytest.fixture
def settings(
    new_market: Callable[..., Market], old: EmbeddedValkey, address: Forwarder
) -> Settings:
    return new_market(
        redis_host="127.0.0.1",
        redis_port=address.port,
        redis_username=old.username,
        redis_password=old.password,
        redis_cache_db=0,
        redis_broker_db=0,
        redis_backend_db=0,
        rate_limit_per_minute=1,
    ).settings


def _fail_over(old: EmbeddedValkey, new: EmbeddedValkey, address: Forwarder) -> None:
    address.target = (new.host, new.port)
    with old.client() as client:
        # It does not reach its new primary, so it keeps its data.
        client.execute_command("REPLICAOF", old.host, "1")


@pytest.mark.parametrize("held", [1, MAX_WAITING])
def test_wake_ups_reach_the_new_primary(
    settings: Settings,
    old: EmbeddedValkey,
    new: EmbeddedValkey,
    address: Forwarder,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
):
    """However many messages the old server holds, which no worker will ever take."""
    monkeypatch.setattr(sending, "_PAUSE_S", 0)
    sender = WakeupSender(settings)
    assert all(sender.send(BATCHES) for _ in range(held))
    _fail_over(old, new, address)
    # Each stale connection fails once before it is replaced.
    assert [sender.send(BATCHES) for _ in range(4)][2:] == [True, True]
    with new.client() as client:
        assert client.llen(QUEUE) >= 2


def test_requests_are_counted_by_the_new_primary(
    settings: Settings,
    old: EmbeddedValkey,
    new: EmbeddedValkey,
    address: Forwarder,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(rate_limits, "_PAUSE_S", 0)
    limits = RateLimits(settings)
    assert limits.wait_s(1) == 0
    assert limits.wait_s(1) > 0
    _fail_over(old, new, address)
    assert [limits.wait_s(1) > 0 for _ in range(3)] == [False, False, True]
