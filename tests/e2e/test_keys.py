"""A new metering point's key reaches DataHub, even if peers, workers or Redis fail."""

from typing import Any

import pytest

from tests.support.live_system import LiveSystem, new_gsrn
from tests.support.waiting import eventually

_SET_KEY = "/meteringpoints/set-key"


def key_has_arrived(system: LiveSystem, gsrn: str) -> None:
    """Check that DataHub has the key, never another one, and that the service has no job left."""
    key = system.sandbox.datahub.keys(gsrn, wait=30)[gsrn]
    assert key
    unsent = (
        "SELECT key_sent_at, datahub_jobs.id AS job FROM metering_points "
        "LEFT JOIN datahub_jobs ON metering_point_id = metering_points.id "
        "WHERE gsrn = %s AND (key_sent_at IS NULL OR datahub_jobs.id IS NOT NULL)"
    )
    eventually(lambda: not system.rows(unsent, gsrn), "the service knows that the key has arrived")
    assert system.sandbox.datahub.keys(gsrn)[gsrn] == key


def add_point(system: LiveSystem) -> tuple[str, str]:
    """Log a new user in and register a metering point; return subject and GSRN."""
    subject, _ = system.log_in("carl")
    system.wait_until_subscribed(subject)
    gsrn = new_gsrn()
    system.add_point(subject, gsrn, "production")
    return subject, gsrn


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 200, "body": {"success": False}},
        {"cut": "before"},
        {"cut": "after"},
        {"status": 401},
    ],
    ids=str,
)
def test_datahub_fails_three_times(system: LiveSystem, fault: dict[str, Any]):
    system.sandbox.datahub.fault(_SET_KEY, times=3, **fault)
    _, gsrn = add_point(system)
    key_has_arrived(system, gsrn)
    assert system.sandbox.datahub.faults() == []


def test_an_expired_token_is_refreshed(system: LiveSystem):
    """DataHub answers 401, because the token is not active at Hydra any more."""
    hydra = system.sandbox.hydra
    hydra.lifetimes(access_token=1)
    subject, _ = system.log_in("carl")
    system.wait_until_subscribed(subject)
    jobs = "SELECT datahub_jobs.id FROM datahub_jobs JOIN users ON users.id = user_id "
    eventually(lambda: not system.rows(f"{jobs} WHERE subject = %s", subject), "no job is left")
    # This token expires after all others, even if the service truncates times to seconds.
    api = system.client(hydra.tokens(subject, expires_in=2).access)
    eventually(lambda: api.request("/accounts").status_code == 401, "all tokens have expired")
    hydra.lifetimes(access_token=3600)
    refreshes = hydra.count("POST /oauth2/token")
    gsrn = new_gsrn()
    system.add_point(subject, gsrn, "production")
    key_has_arrived(system, gsrn)
    # Beat may refresh the tokens of other tests' users meanwhile.
    assert hydra.count("POST /oauth2/token") > refreshes


@pytest.mark.parametrize("cut", ["before", "after"])
def test_the_worker_is_killed_while_it_sends(system: LiveSystem, cut: str):
    """Before DataHub has the key, and after, but before its answer. Redis is flushed, too."""
    datahub, worker = system.sandbox.datahub, system.services.worker
    delay: dict[str, Any] = {f"delay_{cut}": 60, "cut": cut}
    datahub.fault(_SET_KEY, times=None, **delay)
    _, gsrn = add_point(system)
    system.wait_for_fault(datahub)
    worker.kill()
    system.redis.flush()
    datahub.clear_faults()
    worker.start()
    key_has_arrived(system, gsrn)


def test_redis_is_flushed_while_a_worker_sends(system: LiveSystem):
    system.sandbox.datahub.fault(_SET_KEY, times=None, delay_before=60, cut="before")
    _, gsrn = add_point(system)
    system.wait_for_fault(system.sandbox.datahub)
    system.redis.flush()
    system.sandbox.datahub.clear_faults()
    key_has_arrived(system, gsrn)
