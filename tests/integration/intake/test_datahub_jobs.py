"""DataHub jobs succeed in the end, whatever fails on the way."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from origin.accounts.service import users
from origin.db.datahub_jobs import enqueue
from origin.keys.derivation import ExtendedKey, metering_point_key
from tests.support.waiting import eventually
from tests.support.world import PROJECT_URL, World, at_once

GSRN = "571313180400000012"
OTHER = "571313180400000029"


def _register(world: World, subject: str, *gsrns: str, **fields: Any) -> None:
    points = [
        {"sub": subject, "gsrn": gsrn, "type": "production", "sector": "DK1", **fields}
        for gsrn in gsrns
    ]
    world.datahub.control("meteringpoints", {"meteringpoints": points})


def _jobs(world: World) -> list[Any]:
    return world.rows("SELECT * FROM datahub_jobs ORDER BY id")


def test_new_user_is_set_up_at_datahub(world: World) -> None:
    _register(world, "alice", GSRN, OTHER)
    user_id = world.new_user("alice")
    # The import enqueues jobs that send keys and fetch GGOs; they are due at once.
    assert world.run_jobs() == 7
    assert _jobs(world) == []
    subscriptions = world.datahub.control("subscriptions", method="GET")["subscriptions"]
    assert {(each["event"], each["url"]) for each in subscriptions} == {
        (event, f"{PROJECT_URL}/webhook/{event}")
        for event in ("on-meteringpoint-available", "on-ggo-issued")
    }
    sealed = world.value("SELECT master_key FROM users WHERE id = :id", id=user_id)
    master = ExtendedKey.from_base58(world.runtime.sealer.open(sealed, "users.master_key:alice"))
    keys = {
        each["gsrn"]: each["key"] for each in world.datahub.control("keys", method="GET")["keys"]
    }
    assert keys == {
        gsrn: metering_point_key(master, index).base58() for index, gsrn in enumerate([GSRN, OTHER])
    }
    assert world.value("SELECT count(*) FROM metering_points WHERE key_sent_at IS NOT NULL") == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 404},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
        {"status": 200, "body": {"success": False}},
        {"status": 200, "body": "garbage"},
        {"status": 200, "body": []},
        {"cut": "before"},
        {"cut": "after"},
    ],
)
def test_a_key_is_sent_until_it_has_arrived(world: World, fault: dict[str, Any]) -> None:
    world.new_user("alice")
    world.run_jobs()
    _register(world, "alice", GSRN)
    world.point("alice", GSRN)
    world.datahub.fault(endpoint="/meteringpoints/set-key", times=2, **fault)
    for attempt in (1, 2):
        world.run_jobs()
        [job] = _jobs(world)
        assert (job.kind, job.attempts) == ("send_key", attempt)
        assert job.last_error.startswith("DataHubService: ")
        assert "xprv" not in job.last_error
        assert world.value("SELECT key_sent_at FROM metering_points") is None
        assert world.run_jobs() == 0
        world.make_jobs_due()
    world.run_jobs()
    assert _jobs(world) == []
    assert world.value("SELECT key_sent_at FROM metering_points") is not None


def test_an_invalid_metering_point_prevents_no_others_import(world: World) -> None:
    world.new_user("alice")
    good = {"type": "consumption", "sector": "DK1"}
    points = [{"gsrn": GSRN, **good}, {"gsrn": None, **good}, None, {"gsrn": OTHER, **good}]
    body = {"success": True, "meteringpoints": points}
    world.datahub.fault(endpoint="/meteringpoints", times=1, status=200, body=body)
    world.run_jobs()
    assert world.value("SELECT count(*) FROM metering_points") == 2
    # The import is repeated until all rows are valid.
    [job] = [job for job in _jobs(world) if job.kind == "import_metering_points"]
    assert "row 1: /meteringpoints: unexpected gsrn; row 2" in job.last_error
    assert job.next_attempt_at is not None


def test_an_import_overwrites_no_newer_webhook(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While DataHub answers, webhooks report a correction and a new metering point."""
    world.new_user("alice")
    world.point("alice", GSRN)
    ask = world.runtime.datahub.metering_points

    def meanwhile(token: str) -> Any:
        answer = ask(token)
        world.point("alice", GSRN, sector="DK2")
        world.point("alice", OTHER, type="consumption")
        return answer

    _register(world, "alice", GSRN, OTHER)
    monkeypatch.setattr(world.runtime.datahub, "metering_points", meanwhile)
    world.run_jobs()
    found = world.rows("SELECT gsrn, type, sector FROM metering_points ORDER BY gsrn")
    assert found == [(GSRN, "production", "DK2"), (OTHER, "consumption", "DK1")]
    monkeypatch.undo()
    world.webhook("on-meteringpoints-available", {"sub": "alice"})
    world.run_jobs()
    found = world.rows("SELECT gsrn, type, sector FROM metering_points ORDER BY gsrn")
    assert found == [(GSRN, "production", "DK1"), (OTHER, "production", "DK1")]


@pytest.mark.parametrize(
    "points",
    [
        None,
        {},
        [{"gsrn": GSRN}],
        [{"gsrn": GSRN, "type": "exchange", "sector": "DK1"}],
        [{"gsrn": 1, "type": "production", "sector": "DK1"}],
        [{"gsrn": "a\0", "type": "production", "sector": "DK1"}],
    ],
)
def test_an_import_that_breaks_the_contract_is_repeated(world: World, points: Any) -> None:
    world.new_user("alice")
    body = {"success": True, "meteringpoints": points}
    world.datahub.fault(endpoint="/meteringpoints", times=1, status=200, body=body)
    world.run_jobs()
    assert [job.kind for job in _jobs(world)] == ["import_metering_points"]
    assert "/meteringpoints: unexpected" in _jobs(world)[0].last_error


def test_import_leaves_other_users_points(world: World) -> None:
    world.new_user("bob")
    world.point("bob", OTHER)
    world.run_jobs()
    world.new_user("alice")
    points = [
        {"gsrn": gsrn, "type": "consumption", "sector": "DK2", "new": 1, "cityName": None}
        for gsrn in (OTHER, GSRN)
    ]
    body = {"success": True, "meteringpoints": points, "new": 1}
    world.datahub.fault(endpoint="/meteringpoints", times=None, status=200, body=body)
    world.run_jobs()
    found = world.rows(
        "SELECT subject, gsrn, sector FROM metering_points m JOIN users u ON u.id = user_id"
    )
    assert sorted(found) == [("alice", GSRN, "DK2"), ("bob", OTHER, "DK1")]


def test_jobs_wait_for_a_login_if_tokens_are_refused(world: World) -> None:
    world.new_user("alice")
    world.hydra.control("revoke", {"sub": "alice"})
    world.run_jobs()
    jobs = _jobs(world)
    assert len(jobs) == 3
    assert all(job.next_attempt_at is None for job in jobs)
    assert world.value("SELECT tokens_refused_at FROM users") is not None
    assert world.hydra.call_count("/oauth2/token") == 2  # The login and one refused refresh.
    assert world.run_jobs() == 0
    world.new_user("alice")
    assert world.value("SELECT tokens_refused_at FROM users") is None
    assert world.run_jobs() == 3
    assert _jobs(world) == []


def test_a_job_refreshes_an_expired_token(world: World) -> None:
    world.new_user("alice")
    token = _access_token(world, "alice")
    world.hydra.control("expire", {"token": token})
    assert world.run_jobs() == 3
    assert _jobs(world) == []
    assert _access_token(world, "alice") != token
    assert world.hydra.call_count("/oauth2/token") == 2


def test_a_hydra_out_of_reach_does_not_count_as_a_refusal(world: World) -> None:
    world.new_user("alice")
    world.hydra.control("expire", {"token": _access_token(world, "alice")})
    world.hydra.fault(endpoint="/oauth2/token", times=None, status=503)
    world.run_jobs()
    assert all(job.next_attempt_at is not None for job in _jobs(world))
    assert world.value("SELECT tokens_refused_at FROM users") is None
    world.hydra.clear_faults()
    world.make_jobs_due()
    world.run_jobs()
    assert _jobs(world) == []


def test_a_job_that_is_enqueued_while_it_runs_runs_again(world: World) -> None:
    user_id = world.new_user("alice")
    world.run_jobs()
    calls = world.datahub.call_count("/meteringpoints")
    world.webhook("on-meteringpoints-available", {"sub": "alice"})
    world.datahub.fault(endpoint="/meteringpoints", times=1, delay_after=1.0)

    def ask_again() -> None:
        eventually(lambda: world.datahub.call_count("/meteringpoints") > calls, "the first call")
        with world.runtime.database.transaction() as session:
            enqueue(session, user_id, ["import_metering_points"])

    at_once(world.run_jobs, ask_again)
    assert world.datahub.call_count("/meteringpoints") == calls + 2
    assert _jobs(world) == []


def test_two_workers_share_the_work(world: World) -> None:
    for number in range(6):
        world.new_user(f"user-{number}")
    assert sum(at_once(world.run_jobs, world.run_jobs)) == 18
    assert world.datahub.call_count("/meteringpoints") == 6
    assert _jobs(world) == []


def test_jobs_at_a_slow_datahub_run_side_by_side(world: World) -> None:
    for number in range(4):
        world.new_user(f"user-{number}")
    world.datahub.fault(endpoint="*", times=None, delay_before=60)
    running = threading.Thread(target=world.run_jobs)
    running.start()

    def waiting() -> int:
        faults = world.datahub.control("faults", method="GET")["faults"]
        return sum(fault["struck"] for fault in faults)

    eventually(lambda: waiting() >= 4, "four calls wait at the same time")
    world.datahub.clear_faults()
    running.join()
    assert _jobs(world) == []


def test_a_dead_workers_job_is_claimed_again(world: World) -> None:
    world.new_user("alice")
    world.rows("UPDATE datahub_jobs SET attempts = 1, next_attempt_at = now() + interval '60s'")
    assert world.run_jobs() == 0
    world.make_jobs_due()
    # Three, and a second import if the first one ran before the subscription.
    assert world.run_jobs() in {3, 4}
    assert _jobs(world) == []


def test_points_that_appear_before_the_subscription_works_are_imported(world: World) -> None:
    world.new_user("alice")
    world.datahub.fault(endpoint="/webhook/on-meteringpoint-available/subscribe", status=500)
    world.run_jobs()
    _register(world, "alice", GSRN)
    world.make_jobs_due()
    while world.run_jobs():
        pass
    assert world.rows("SELECT gsrn FROM metering_points") == [(GSRN,)]


def test_an_unexpected_error_stops_no_other_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("with a secret in it")

    monkeypatch.setattr(world.runtime.datahub, "metering_points", explode)
    world.new_user("alice")
    assert world.run_jobs() == 3
    [job] = _jobs(world)
    assert job.last_error == "RuntimeError"
    assert job.next_attempt_at is not None


def test_disabling_deletes_all_jobs(world: World) -> None:
    user_id = world.new_user("alice")
    assert users.disable(world.runtime.database, user_id)
    assert not users.disable(world.runtime.database, user_id)
    assert _jobs(world) == []


def test_missing_technologies_are_logged_in_one_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.datahub.fault(endpoint="/technologies", times=1, status=503)
    assert world.runtime.technologies.import_if_empty() == 0
    [record] = [each for each in caplog.records if "technologies" in each.name]
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert world.runtime.technologies.import_if_empty() > 0


def test_technologies_are_imported_if_there_are_none(world: World) -> None:
    count = world.runtime.technologies.import_if_empty()
    assert count > 0
    assert world.value("SELECT count(*) FROM technologies") == count
    assert world.runtime.technologies.import_if_empty() == 0
    assert world.datahub.call_count("/technologies") == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200, "body": {"success": True, "technologies": []}},
        {"status": 200, "body": {"success": True, "technologies": [{"technology": "Wind"}]}},
        {"status": 200, "body": {"success": False}},
        {"status": 500},
    ],
)
def test_technologies_stay_if_the_answer_is_wrong(world: World, fault: dict[str, Any]) -> None:
    count = world.runtime.technologies.import_all()
    world.datahub.fault(endpoint="/technologies", times=1, **fault)
    with pytest.raises(Exception, match="DataHubService"):
        world.runtime.technologies.import_all()
    assert world.value("SELECT count(*) FROM technologies") == count


def test_technologies_are_replaced(world: World) -> None:
    world.runtime.technologies.import_all()
    pair = {"technologyCode": "T1", "fuelCode": "F1"}
    labels = [{"technology": label, **pair} for label in ("Sun", "Solar")]
    body = {"success": True, "technologies": labels}
    world.datahub.fault(endpoint="/technologies", times=None, status=200, body=body)
    at_once(*[world.runtime.technologies.import_all] * 3)
    assert world.rows("SELECT * FROM technologies") == [("T1", "F1", "Solar")]


def _access_token(world: World, subject: str) -> str:
    sealed = world.value("SELECT access_token FROM users WHERE subject = :s", s=subject)
    return world.runtime.sealer.open(sealed, f"users.access_token:{subject}")


def _subscriptions(world: World) -> list[str]:
    found = world.datahub.control("subscriptions", method="GET")["subscriptions"]
    return sorted(each["event"] for each in found)


BOTH_EVENTS = ["on-ggo-issued", "on-meteringpoint-available"]


def test_subscribing_again_adds_no_subscription(world: World) -> None:
    """DataHub adds a subscription for each call, and reports every event to each of them."""
    world.new_user("alice")
    world.run_jobs()
    for _ in range(2):
        assert world.runtime.user_administration.resubscribe("alice") == 1
        while world.run_jobs():
            pass
    assert _subscriptions(world) == BOTH_EVENTS
    _register(world, "alice", GSRN)
    assert len(world.datahub.control("deliveries", method="GET")["deliveries"]) == 1


def test_a_subscription_whose_answer_was_lost_is_not_repeated(world: World) -> None:
    world.datahub.fault(endpoint="/webhook/*/subscribe", times=4, cut="after")
    world.new_user("alice")
    for _ in range(4):
        while world.run_jobs():
            pass
        world.make_jobs_due()
    assert _jobs(world) == []
    assert _subscriptions(world) == BOTH_EVENTS


@pytest.mark.parametrize("status", [400, 404, 405])
def test_subscribing_works_at_a_datahub_without_unsubscribe(world: World, status: int) -> None:
    world.datahub.fault(endpoint="/webhook/*/unsubscribe", times=None, status=status)
    world.new_user("alice")
    world.run_jobs()
    assert _jobs(world) == []
    assert _subscriptions(world) == BOTH_EVENTS


@pytest.mark.parametrize("path", ["/meteringpoints/set-key", "/ggo"])
def test_a_job_that_outlasts_its_lease_is_claimed_by_no_other_worker(
    new_world: Callable[..., World], path: str
) -> None:
    world = new_world(lease_seconds=2)
    world.new_user("alice")
    world.run_jobs()
    _register(world, "alice", GSRN)
    world.point("alice", GSRN)
    world.datahub.fault(endpoint=path, delay_before=6)
    first = threading.Thread(target=world.run_jobs)
    first.start()
    eventually(lambda: world.datahub.call_count(path) == 1, "the first call")
    other = new_world(lease_seconds=2)
    while first.is_alive():
        other.run_jobs()
        first.join(0.2)
    assert world.datahub.call_count(path) == 1
    assert _jobs(world) == []


def test_points_that_appear_between_two_subscriptions_are_imported(world: World) -> None:
    """No webhook reports them."""
    world.new_user("alice")
    world.run_jobs()
    with world.runtime.database.transaction() as session:
        enqueue(session, world.value("SELECT id FROM users"), ["subscribe_metering_points"])
    world.datahub.fault(endpoint="/webhook/on-meteringpoint-available/subscribe", delay_before=1.0)

    def appear() -> None:
        eventually(lambda: "on-meteringpoint-available" not in _subscriptions(world), "the gap")
        _register(world, "alice", GSRN)

    at_once(world.run_jobs, appear)
    while world.run_jobs():
        pass
    assert world.rows("SELECT gsrn FROM metering_points") == [(GSRN,)]
