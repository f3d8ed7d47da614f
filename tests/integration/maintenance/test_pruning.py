"""Pruning deletes outdated rows, and no others."""

from origin.maintenance.service import pruning
from tests.support.world import World


def test_pruning_deletes_what_is_old(world: World) -> None:
    world.point("nobody", "1")
    world.point("nobody", "2")
    world.rows("UPDATE kept_events SET received_at = now() - interval '31 days' WHERE gsrn = '1'")
    world.rows("UPDATE kept_events SET received_at = now() - interval '29 days' WHERE gsrn = '2'")
    for _ in range(2):
        world.consented(world.client(), "alice")
    user_id = world.new_user("alice")
    world.rows(
        "UPDATE login_states SET expires_at = now() - interval '1 second' "
        "WHERE state_hash = (SELECT min(state_hash) FROM login_states)"
    )
    for key, age in (("old", "25 hours"), ("new", "23 hours")):
        world.rows(
            "INSERT INTO idempotency_keys (user_id, key, request_hash, holder, lease_until, "
            "created_at) VALUES (:id, :key, '', '', now(), now() - CAST(:age AS interval))",
            id=user_id,
            key=key,
            age=age,
        )
    for count in (1, 0):
        gone = pruning.prune(world.runtime.database)
        for table in ("kept_events", "login_states", "idempotency_keys"):
            assert gone[table] == count


def test_kept_events_of_known_users_are_not_pruned(world: World) -> None:
    world.new_user("alice")
    assert world.ggo("alice", "1").json == {"success": True}
    assert world.ggo("nobody", "2").json == {"success": False}
    world.rows("UPDATE kept_events SET received_at = now() - interval '31 days'")
    pruning.prune(world.runtime.database)
    assert world.rows("SELECT subject FROM kept_events") == [("alice",)]
