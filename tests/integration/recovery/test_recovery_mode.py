"""RECOVERY_MODE: work that changes GGOs or keys rests, all else goes on."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from origin.tasks import celery as names
from origin.tasks.sending import WakeupSender
from origin.tasks.tasks import register_tasks
from origin.telemetry.metrics import REGISTRY
from tests.support.drill import Drill, composed
from tests.support.market import Market

RESTING = (names.BATCHES, names.STUCK_BATCHES, names.DATAHUB_JOBS)


class Registered(dict[str, Callable[[], None]]):
    """The tasks of a worker. Celery would share them among all apps of this process."""

    def task(self, *, name: str) -> Callable[[Callable[[], None]], None]:
        return lambda run: self.__setitem__(name, run)


def run_task(market: Market, name: str) -> None:
    tasks = Registered()
    register_tasks(cast("Any", tasks), market.runtime, WakeupSender(market.settings))
    tasks[name]()


def test_composes_and_webhooks_of_points_rest(drill: Drill):
    market = drill.market
    composed(market, market.issue(500), transfers=[(200, "bob")])
    address = market.issue(300, begin=market.hour(1))
    drill.backup()
    drill.restart(recovery_mode=True)
    before = market.snapshot()
    point = {"gsrn": "5713131804", "type": "consumption", "sector": "DK1"}
    answers = [
        market.compose(address, transfers=[(1, "bob")]),
        market.post("/compose", {"address": address}, market.tokens["alice"]),
        market.webhook("on-meteringpoint-available", {"sub": "alice", "meteringpoint": point}),
        market.webhook("on-meteringpoints-available", {"sub": "alice"}),
    ]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json == {"success": False, "message": "The service is being recovered"}
    # A request without a valid token is not told of the recovery mode.
    assert market.post("/ggo/compose", {}, "no token").status_code == 401
    assert (
        market.webhook("on-meteringpoints-available", {"sub": "a"}, "sha256=x").status_code == 401
    )
    assert market.snapshot() == before
    assert market.total("alice", category="stored") == 600
    assert market.issue(70, begin=market.hour(2))
    assert market.client().get("/health/ready").json["recovery"] == "under way"
    assert b"account_service_recovery_mode 1.0" in generate_latest(REGISTRY)
    drill.restart(recovery_mode=False)
    assert market.compose(address, transfers=[(1, "bob")]).status_code == 200
    assert "recovery" not in market.client().get("/health/ready").json
    assert b"account_service_recovery_mode 0.0" in generate_latest(REGISTRY)


@pytest.mark.parametrize("name", RESTING)
def test_work_that_changes_what_is_recovered_rests(
    market: Market, caplog: pytest.LogCaptureFixture, name: str
):
    caplog.set_level("INFO")
    assert market.compose(market.issue(500), transfers=[(1, "bob")]).status_code == 200
    market.rows("UPDATE batches SET created_at = created_at - interval '1 day'")
    market.rows(
        "INSERT INTO datahub_jobs (user_id, kind) VALUES (:u, 'subscribe_ggos')", u=market.alice
    )
    before = _work(market)
    run_task(resting(market), name)
    assert _work(market) == before
    assert "RECOVERY_MODE is set" in caplog.text
    run_task(market, name)
    assert _work(market) != before


def resting(market: Market) -> Market:
    """Return a worker on the same database, in recovery mode."""
    found = copy.copy(market)
    found.settings = market.settings.model_copy(update={"recovery_mode": True})
    found.runtime = replace(market.runtime, settings=found.settings)
    return found


def _work(market: Market) -> list[Any]:
    return [
        *market.rows("SELECT id, state, next_attempt_at, posts FROM batches ORDER BY id"),
        *market.rows("SELECT id, next_attempt_at, attempts FROM datahub_jobs ORDER BY id"),
    ]
