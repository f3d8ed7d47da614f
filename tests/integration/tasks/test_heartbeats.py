"""Heartbeats of worker and Beat, by PostgreSQL's clock."""

import pytest
from sqlalchemy import make_url

from origin.db import process_secrets
from origin.db.engine import Database
from origin.tasks import heartbeats
from origin.tasks.beat import use_sweeper
from origin.tasks.celery import SWEPT, create_celery
from origin.tasks.heartbeats import Heartbeat
from tests.support.world import World


@pytest.fixture
def heartbeat(world: World) -> Heartbeat:
    """The heartbeat of a worker that has announced itself."""
    heartbeat = Heartbeat(world.runtime.database, sweep_interval_s=10)
    heartbeat.process = "worker on a, process 1"
    world.runtime.secret_announcer.announce(heartbeat.process, "worker")
    return heartbeat


def working(world: World) -> dict[str, int]:
    with world.runtime.database.transaction() as session:
        return dict(process_secrets.count_working(session))


def test_a_worker_that_only_runs_does_not_count_as_working(world: World, heartbeat: Heartbeat):
    assert working(world) == {"web": 0, "worker": 0, "beat": 0}
    heartbeat.worked()
    assert working(world) == {"web": 0, "worker": 1, "beat": 0}


def test_a_heartbeat_ends_after_three_sweeps_and_some_seconds(world: World, heartbeat: Heartbeat):
    heartbeat.worked()
    valid_s = world.value("SELECT extract(epoch FROM works_until - now()) FROM process_secrets")
    assert 30 < valid_s < 45.1
    world.rows("UPDATE process_secrets SET works_until = now() - interval '1 second'")
    assert working(world)["worker"] == 0


def test_a_busy_worker_writes_it_once_in_a_while(
    world: World, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
):
    # So long that no pause of the machine reaches it.
    monkeypatch.setattr(heartbeats, "_EVERY_S", 600)
    heartbeat.worked()
    world.rows("UPDATE process_secrets SET works_until = NULL")
    heartbeat.worked()
    assert working(world)["worker"] == 0
    monkeypatch.setattr(heartbeat, "_next", heartbeat._next - heartbeats._EVERY_S)
    heartbeat.worked()
    assert working(world)["worker"] == 1


def test_a_process_that_has_withdrawn_is_not_brought_back(world: World, heartbeat: Heartbeat):
    world.runtime.secret_announcer.withdraw("worker on a, process 1")
    heartbeat.worked()
    assert world.value("SELECT count(*) FROM process_secrets") == 0


def test_without_a_database_the_work_goes_on():
    heartbeat = Heartbeat(Database(make_url("postgresql+psycopg2://a:b@127.0.0.1:9/c"), 1), 10)
    heartbeat.process = "worker on a, process 1"
    heartbeat.worked()


def test_a_web_counts_while_it_announces_itself(world: World):
    world.runtime.secret_announcer.announce("web on a, process 1", "web")
    assert working(world)["web"] == 1
    world.rows("UPDATE process_secrets SET seen_at = now() - interval '181 seconds'")
    assert working(world)["web"] == 0


def test_a_process_of_the_version_before_counts_as_nothing(world: World):
    world.rows("INSERT INTO process_secrets (process, prefixes) VALUES ('web on b', '{p}')")
    assert working(world) == {"web": 0, "worker": 0, "beat": 0}


def test_beat_has_swept_only_if_redis_took_every_wake_up(world: World):
    class Sender:
        def __init__(self) -> None:
            self.sent: list[str] = []
            self.takes = True

        def send(self, task: str) -> bool:
            self.sent.append(task)
            return self.takes or task != SWEPT[-1]

    sender, swept = Sender(), list[None]()
    app = create_celery(world.settings)
    use_sweeper(app, sender, 7, lambda: swept.append(None))  # type: ignore[arg-type]
    scheduler = app.conf.beat_scheduler(app)
    assert scheduler.tick() == 7
    assert (sender.sent, len(swept)) == ([*SWEPT], 1)
    sender.takes = False
    assert scheduler.tick() == 7
    assert (len(sender.sent), len(swept)) == (2 * len(SWEPT), 1)
