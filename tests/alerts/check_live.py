"""A real Prometheus watches a running system by the alert rules: `make alerts-check`.

Only the webs are scraped (METRICS_PORT=0, the default). All times in the rules are a sixtieth of what
they are: minutes become seconds. Rules about rates of requests and about scraped workers are tested by
promtool alone (`cases.yaml`).
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from devstack.configured import Postgres, Redis
from tests.alerts.cases import read_rules
from tests.support.live_system import LiveSystem, running_system
from tests.support.prometheus_server import Prometheus, running_prometheus, scraped
from tests.support.waiting import eventually

_UNITS = {"m": "s", "h": "m"}
_REST_S = 30
"""For how long nothing may fire: longer than every `for` but those of hours."""
_WITHIN_S = 150

# What operators must hear of, as rows: the statement that makes it so, and the alerts that follow.
_FAULTS: dict[str, set[str]] = {
    "UPDATE process_secrets SET works_until = now() - interval '1 s'": {
        "AccountServiceNothingSwept",
        "AccountServiceBeatMissing",
    },
    "UPDATE process_secrets SET clock_skew_seconds = -3 WHERE kind = 'worker'": {
        "AccountServiceClockSkew"
    },
    "INSERT INTO process_secrets (process, prefixes, kind) VALUES ('web on x', '{v1.x}', 'web')": {
        "AccountServiceSecretsDiffer"
    },
    "INSERT INTO ledger_differences (kind, address, ggo_id, detail) "
    "SELECT 'spent_elsewhere', address, id, '' FROM ggos LIMIT 1": {
        "AccountServiceDiffersFromLedger"
    },
    "INSERT INTO ledger_walks (started_at) VALUES (now() - interval '9 days')": {
        "AccountServiceNotReconciled"
    },
    "UPDATE batches SET created_at = now() - interval '2 h', "
    "next_attempt_at = now() - interval '20 min' WHERE ended_at IS NULL": {
        "AccountServiceBatchesWait",
        "AccountServiceWorkOverdue",
    },
    "UPDATE schedules SET last_run_at = now() - interval '3 days' WHERE name = 'origin.pruning'": {
        "AccountServicePeriodicWorkFails"
    },
    "INSERT INTO datahub_jobs (user_id, kind, created_at, next_attempt_at) "
    "SELECT id, 'subscribe_ggos', now() - interval '2 h', now() + interval '1 h' "
    "FROM users LIMIT 1": {"AccountServiceDataHubWorkWaits"},
    "INSERT INTO kept_events (kind, subject, gsrn, payload, digest, received_at) "
    "VALUES ('ggo', 'nobody', '1', '{}', 'x', now() - interval '2 days')": {
        "AccountServiceEventsKept"
    },
    "UPDATE ggos SET key_mismatch = true WHERE issue_gsrn IS NOT NULL": {
        "AccountServiceKeysDiffer"
    },
    "INSERT INTO webhook_subscriptions (user_id, event, url, host, secret) "
    "SELECT id, 'ON_GGO_RECEIVED', 'https://a.example', 'a.example:443', 's' "
    "FROM users LIMIT 1": set(),
    "INSERT INTO webhook_deliveries (subscription_id, body, created_at, next_attempt_at) "
    "SELECT id, '', now() - interval '2 h', now() + interval '1 h' FROM webhook_subscriptions": {
        "AccountServiceWebhooksWait"
    },
    "INSERT INTO webhook_deliveries (subscription_id, body, state, next_attempt_at, ended_at) "
    "SELECT id, '', 'GIVEN_UP', NULL, now() FROM webhook_subscriptions": {
        "AccountServiceWebhooksGivenUp"
    },
    "UPDATE users SET token_expires_at = now() - interval '1 h'": {"AccountServiceTokensExpire"},
    "INSERT INTO users (subject, master_key, tokens_refused_at) "
    "SELECT 'refused ' || number, 'x', now() FROM generate_series(1, 9) AS number": {
        "AccountServiceTokensRefused"
    },
    # A fault in the code, for one endpoint.
    "ALTER TABLE forecasts RENAME TO hidden": {"AccountServiceErrors"},
}


def _quick_rules(folder: Path) -> Path:
    """Write the rules with a sixtieth of their times."""
    rules = folder / "rules.yaml"
    group = {"name": "quick", "rules": [_quick(rule) for rule in read_rules().values()]}
    rules.write_text(yaml.safe_dump({"groups": [group]}))
    return rules


def _quick(rule: dict[str, Any]) -> dict[str, Any]:
    """Return the rule with a sixtieth of its times."""
    quick = dict(rule)
    quick["expr"] = re.sub(
        r"(\[|offset )(\d+)([mh])",
        lambda found: f"{found[1]}{found[2]}{_UNITS[found[3]]}",
        rule["expr"],
    )
    if "for" in rule:
        quick["for"] = f"{rule['for'][:-1]}{_UNITS[rule['for'][-1]]}"
    return quick


@pytest.fixture
def system(postgres: Postgres, valkey: Redis, tmp_path: Path) -> Iterator[LiveSystem]:
    """A system at work, on a database of its own."""
    postgres.drop_database("check_alerts")
    with running_system(postgres.create_database("check_alerts"), valkey, tmp_path) as running:
        anna, bo = running.households("anna", "bo")
        sold = running.issue(anna, 0, 100)
        assert anna.compose(sold, transfers=[(30, bo)]).status_code == 200
        running.wait_until_settled()
        work = f"{running.stack.url}/health/work"
        eventually(lambda: requests.get(work, timeout=10).ok, "worker and Beat work")
        yield running
    postgres.drop_database("check_alerts")


@pytest.mark.timeout(600)
def test_nothing_fires_at_rest_and_each_fault_raises_its_alerts(system: LiveSystem, tmp_path: Path):
    targets = [system.stack.url.removeprefix("http://")]
    with running_prometheus(
        {"webs": {}},
        targets,
        interval_s=2,
        folder=tmp_path,
        rules=_quick_rules(tmp_path),
        lookback_s=10,
    ) as prometheus:
        # Before the first scrape there is no web.
        eventually(
            lambda: (
                scraped(prometheus, targets, 1)
                and prometheus.evaluates_all_rules()
                and not prometheus.firing()
            ),
            "Prometheus scrapes the web, and evaluates the rules",
        )
        assert _seen(prometheus, set(), _REST_S) == set()
        expected = _break(system)
        assert _seen(prometheus, expected, _WITHIN_S) == expected
        system.services.web.terminate()
        assert "AccountServiceDown" in _seen(prometheus, {"AccountServiceDown"}, _WITHIN_S)


def _seen(prometheus: Prometheus, awaited: set[str], within_s: float) -> set[str]:
    """Return the alerts that fire within this time; less if all that are awaited have fired."""
    seen: set[str] = set()
    end = time.monotonic() + within_s
    while time.monotonic() < end and not (awaited and awaited <= seen):
        seen |= prometheus.firing()
        time.sleep(0.5)
    return seen


def _break(system: LiveSystem) -> set[str]:
    """Stop worker and Beat, make all faults, and return the alerts that must follow."""
    anna, bo = system.households("carl", "dora")
    waiting = system.issue(anna, 1, 100)
    system.services.beat.terminate()
    system.services.worker.kill()
    assert anna.compose(waiting, transfers=[(30, bo)]).status_code == 200
    for fault in _FAULTS:
        system.rows(
            f"{fault} RETURNING 1" if not fault.startswith("ALTER") else f"{fault}; SELECT 1"
        )
    assert anna.api.request("/forecast/list", {"limit": 1}).status_code == 500
    return set().union(*_FAULTS.values())
