"""Failing or slow jobs of some users delay no other user's jobs."""

from typing import Any

import pytest

from origin.db.datahub_jobs import enqueue
from origin.intake.service import jobs
from origin.keys.derivation import new_master_key
from origin.keys.sealing import access_token_context, master_key_context
from tests.support.waiting import eventually
from tests.support.world import World, at_once

MANY = 520
MASTER = new_master_key().base58()
BOBS = "571313180400000029"


def add_users(world: World, count: int) -> None:
    """Add this many users with tokens."""
    for number in range(count):
        subject = f"user {number}"
        token = world.runtime.sealer.seal(world.token(subject), access_token_context(subject))
        world.rows(
            "INSERT INTO users (subject, master_key, access_token) VALUES (:subject, :key, :token)",
            subject=subject,
            key=world.runtime.sealer.seal(MASTER, master_key_context(subject)),
            token=token,
        )


def first_claim(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run only the jobs of one claim."""
    monkeypatch.setattr(jobs, "MAX_RUN_S", 0.0)
    world.run_jobs()


def failing_keys(world: World, *, attempts: int) -> None:
    """Enqueue many overdue keys that DataHub rejects: it does not know their points."""
    world.rows(
        "WITH point AS (INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
        "SELECT users.id, 'unknown ' || users.id || n, 'consumption', 'DK1', 100 + n "
        "FROM users, generate_series(1, :each) AS n RETURNING id, user_id) "
        "INSERT INTO datahub_jobs (user_id, kind, metering_point_id, attempts, next_attempt_at) "
        "SELECT user_id, 'send_key', id, :attempts, now() - interval '1 hour' FROM point",
        each=MANY // world.value("SELECT count(*) FROM users"),
        attempts=attempts,
    )


def key_of_a_new_user(world: World) -> None:
    """Log Bob in, and enqueue the key of his metering point."""
    point = {"sub": "bob", "gsrn": BOBS, "type": "consumption", "sector": "DK1"}
    world.datahub.control("meteringpoints", {"meteringpoints": [point], "webhooks": "none"})
    world.new_user("bob")
    assert world.webhook(
        "on-meteringpoint-available",
        {"sub": "bob", "meteringpoint": {"gsrn": BOBS, "type": "consumption", "sector": "DK1"}},
    ).json == {"success": True}


def key_sent_at(world: World) -> Any:
    return world.value("SELECT key_sent_at FROM metering_points WHERE gsrn = :g", g=BOBS)


@pytest.mark.parametrize(("users", "attempts"), [(1, 0), (1, 7), (4, 0), (52, 7)])
def test_a_new_users_key_does_not_wait_for_failing_keys(
    world: World, monkeypatch: pytest.MonkeyPatch, users: int, attempts: int
) -> None:
    """Of one user or many. It may wait for one untried key of each other user."""
    add_users(world, users)
    failing_keys(world, attempts=attempts)
    key_of_a_new_user(world)
    first_claim(world, monkeypatch)
    assert key_sent_at(world) is not None
    assert world.value("SELECT count(*) FROM datahub_jobs WHERE last_error LIKE '%400%'") > 0


def test_no_kind_of_job_delays_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when an operator resubscribes all users."""
    for number in range(MANY):
        subject = f"user {number}"
        world.rows("INSERT INTO users (subject, master_key) VALUES (:subject, '')", subject=subject)
    with world.runtime.database.transaction() as session:
        for (user_id,) in world.rows("SELECT id FROM users"):
            enqueue(session, user_id, ["subscribe_ggos", "import_metering_points"])
    key_of_a_new_user(world)
    first_claim(world, monkeypatch)
    assert key_sent_at(world) is not None


def test_failed_jobs_take_turns_with_new_jobs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many new jobs there are."""
    key_of_a_new_user(world)
    world.rows("UPDATE datahub_jobs SET attempts = 7")
    for number in range(52):
        subject = f"user {number}"
        world.rows("INSERT INTO users (subject, master_key) VALUES (:subject, '')", subject=subject)
    failing_keys(world, attempts=0)
    first_claim(world, monkeypatch)
    assert key_sent_at(world) is not None


def test_slow_fetches_of_ggos_delay_no_key(world: World) -> None:
    """DataHub may take minutes for one fetch; few fetches run at a time."""
    points = [
        {"sub": "alice", "gsrn": f"5713131804{number:08}", "type": "production", "sector": "DK1"}
        for number in range(12)
    ]
    world.datahub.control("meteringpoints", {"meteringpoints": points, "webhooks": "none"})
    world.datahub.fault(endpoint="/ggo", times=None, delay_before=60)
    world.new_user("alice")

    def keys_arrive() -> int:
        sent = "SELECT count(*) FROM metering_points WHERE key_sent_at IS NOT NULL"
        try:
            eventually(lambda: world.value(sent) == 12, "all keys")
            return world.datahub.call_count("/ggo")
        finally:
            world.datahub.clear_faults()

    _, asked = at_once(world.run_jobs, keys_arrive)
    assert asked <= jobs.FETCHES_AT_ONCE
    while world.run_jobs():
        pass
    assert world.rows("SELECT * FROM datahub_jobs") == []
