"""Messages to the workers through Redis: they carry no times, and their number is limited."""

import time
from collections.abc import Callable, Iterator

import orjson
import pytest
import redis

from devstack.configured import Redis, redis_databases
from origin.redis_servers import redis_client
from origin.settings import Settings
from origin.tasks.celery import BATCHES, RECONCILIATION
from origin.tasks.sending import MAX_WAITING, WakeupSender
from origin.tasks.wakeups import CeleryWakeups
from tests.support.market import Market
from tests.support.waiting import eventually

QUEUE = "celery"


@pytest.fixture
def settings(new_market: Callable[..., Market], valkey: Redis) -> Settings:
    return new_market(
        redis_host=valkey.host,
        redis_port=valkey.port,
        redis_username=valkey.username,
        redis_password=valkey.password,
        **{name.lower(): int(number) for name, number in redis_databases().items()},
    ).settings


@pytest.fixture
def broker(settings: Settings) -> Iterator[redis.Redis]:
    with redis_client(settings, settings.redis_broker_db, 5) as client:
        client.delete(QUEUE)
        yield client
        client.delete(QUEUE)


def test_wake_ups_do_not_pile_up_without_a_worker(settings: Settings, broker: redis.Redis):
    sender = WakeupSender(settings)
    assert all(sender.send(BATCHES) for _ in range(MAX_WAITING + 20))
    assert broker.llen(QUEUE) == MAX_WAITING
    broker.ltrim(QUEUE, 0, 0)
    assert sender.send(BATCHES)
    assert broker.llen(QUEUE) == 2


def test_periodic_work_that_was_claimed_is_sent_however_many_wait(
    settings: Settings, broker: redis.Redis
):
    """Nobody else sends it before the claim ends, an hour later."""
    sender = WakeupSender(settings)
    for _ in range(MAX_WAITING):
        sender.send(BATCHES)
    assert sender.send(RECONCILIATION)
    assert broker.llen(QUEUE) == MAX_WAITING + 1


@pytest.mark.parametrize("delay_s", [0, 0.3])
def test_a_wake_up_carries_no_time(settings: Settings, broker: redis.Redis, delay_s: float):
    """A worker whose clock differs would read it as another time than its sender meant."""
    wakeups = CeleryWakeups(WakeupSender(settings))
    began = time.monotonic()
    wakeups.batches_due(delay_s)
    eventually(lambda: broker.llen(QUEUE), "the wake-up is sent")
    assert time.monotonic() - began >= delay_s
    headers = orjson.loads(broker.lindex(QUEUE, 0))["headers"]
    assert headers["task"] == BATCHES
    assert (headers["eta"], headers["expires"]) == (None, None)


def test_nothing_is_sent_for_a_while_after_redis_failed(new_market: Callable[..., Market]):
    sender = WakeupSender(new_market().settings)
    began = time.monotonic()
    assert [sender.send(BATCHES) for _ in range(50)] == [False] * 50
    assert time.monotonic() - began < 5
