"""Periodic work: the database knows when it is due, and it runs once."""

from datetime import timedelta
from typing import Any

from origin.db import clock_watch
from origin.maintenance.rules.schedules import At, Every
from origin.maintenance.service import schedules
from origin.shared import clock
from tests.support.world import World, at_once

SCHEDULES = {"hourly": Every(timedelta(hours=1)), "nightly": At((30,), hour=2)}


def _send_due(world: World, *, works: bool = True) -> list[str]:
    sent: list[str] = []

    def send(name: str) -> bool:
        sent.append(name)
        return works

    schedules.send_due(world.runtime.database, SCHEDULES, send)
    return sorted(sent)


def _since(world: World, interval: str) -> None:
    world.rows("UPDATE schedules SET last_run_at = now() - CAST(:i AS interval)", i=interval)


def test_what_is_due_is_known_by_the_database(world: World) -> None:
    """Whichever process asks, and however often it was restarted."""
    assert _send_due(world) == []
    _since(world, "61 minutes")
    assert "hourly" in _send_due(world)
    assert "hourly" not in _send_due(world)
    schedules.finish(world.runtime.database, "hourly")
    assert "hourly" not in _send_due(world)
    _since(world, "2 days")
    assert "hourly" in _send_due(world)


def test_processes_that_ask_at_once_send_it_once(world: World) -> None:
    _send_due(world)
    _since(world, "2 days")
    sent = at_once(*[lambda: _send_due(world)] * 8)
    assert sorted(name for each in sent for name in each) == ["hourly", "nightly"]


def test_work_that_could_not_be_sent_is_sent_by_the_next_sweep(world: World) -> None:
    _send_due(world)
    _since(world, "2 days")
    assert _send_due(world, works=False) == ["hourly", "nightly"]
    assert _send_due(world) == ["hourly", "nightly"]


def test_a_run_that_died_is_started_anew(world: World) -> None:
    _send_due(world)
    _since(world, "2 days")
    assert _send_due(world) == ["hourly", "nightly"]
    assert _send_due(world) == []
    world.rows("UPDATE schedules SET claimed_at = claimed_at - interval '61 minutes'")
    assert _send_due(world) == ["hourly", "nightly"]


def test_the_clock_is_postgresqls(world: World, monkeypatch) -> None:
    """On a machine whose clock is a day ahead."""
    true_time = clock_watch.time.time
    monkeypatch.setattr("time.time", lambda: true_time() + 86_400)
    monkeypatch.setattr(clock, "_server_time", None)
    skew_s = clock_watch.sync_clock(world.runtime.database)
    assert abs(skew_s - 86_400) < 5
    told = world.value("SELECT clock_timestamp()")
    assert abs((clock.utcnow() - told).total_seconds()) < 5


def test_a_process_that_was_stopped_while_it_asked_asks_again(world: World, monkeypatch) -> None:
    true_now, answers = world.runtime.database.server_time, []

    def held_up() -> Any:
        told, reading, doubt_s = true_now()
        # The process sees half a minute each way, although PostgreSQL answered at once.
        answers.append(
            (told, reading + 30, doubt_s + 30) if not answers else (told, reading, doubt_s)
        )
        return answers[-1]

    monkeypatch.setattr(world.runtime.database, "server_time", held_up)
    monkeypatch.setattr(clock, "_server_time", None)
    clock_watch.sync_clock(world.runtime.database)
    told = world.value("SELECT clock_timestamp()")
    assert abs((clock.utcnow() - told).total_seconds()) < 5
