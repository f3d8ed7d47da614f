"""Metrics of the running processes: a web with several processes, worker and beat."""

import os
from contextlib import suppress
from pathlib import Path

import promql_parser
import pytest
import requests

from origin.telemetry.metrics import NAMESPACE, REGISTRY
from tests.support.dashboard_queries import queries
from tests.support.live_system import LiveSystem, hour
from tests.support.promql import selectors
from tests.support.scraping import Scrape
from tests.support.waiting import eventually

# Prometheus' own, and what exists only after a delivery failed.
_ELSEWHERE = {
    "up",
    "ALERTS",
    "account_service_webhook_subscriptions_failing",
    "account_service_webhook_failures_in_a_row",
}


def test_any_process_of_the_web_answers_for_all_of_them(system: LiveSystem):
    """Sixty requests, each on a new connection, reach both processes; every scrape counts all."""
    url = f"{system.stack.url}/health/live"

    def count() -> float:
        return _scrape(f"{system.stack.url}/metrics").value(
            "request_seconds_count", endpoint="/health/live", status="200"
        )

    before = count()
    for _ in range(60):
        assert requests.get(url, timeout=10).status_code == 200
    assert {count() - before for _ in range(10)} == {60}


def _begins_with_0(scrape: Scrape) -> bool:
    """Return whether all counters are exported, also those that have not counted anything."""
    counters = {
        f"{family.name}_total"
        for family in REGISTRY.collect()
        if family.type == "counter" and family.name.startswith(NAMESPACE)
    }
    assert counters - scrape.names == set()
    alert = ("account_service_batch_alerts_total", frozenset({("reason", "cannot_end")}))
    sent = ("account_service_tasks_sent_total", frozenset({("task", "origin.pruning")}))
    return scrape.samples.get(alert) == 0 and sent in scrape.samples


def test_counters_of_the_web_exist_before_their_first_event(system: LiveSystem):
    assert _begins_with_0(_scrape(f"{system.stack.url}/metrics"))


def test_worker_and_beat_answer_for_themselves(system: LiveSystem):
    _, worker, beat = _urls(system)
    sweep = {"task": "origin.batches"}
    eventually(lambda: _scrape(beat).value("tasks_sent_total", **sweep) >= 2, "beat sends")
    eventually(
        lambda: _scrape(worker).value("task_seconds_count", state="SUCCESS", **sweep) >= 2,
        "the worker works",
    )
    eventually(
        lambda: _scrape(worker).value("task_wait_seconds_count", **sweep) >= 2,
        "the worker tells how long wake-ups have waited",
    )
    assert all(_begins_with_0(_scrape(url)) for url in (worker, beat))
    failed = frozenset({("task", "origin.technologies"), ("state", "FAILURE")})
    assert ("account_service_task_seconds_count", failed) in _scrape(worker).samples
    assert "process_resident_memory_bytes" in _scrape(worker).names


def test_a_web_answers_for_the_memory_and_time_of_all_its_processes(system: LiveSystem):
    """Gunicorn's master alone has less than a process that has loaded the application."""
    web = _urls(system)[0]
    pids = [str(system.services.web.pid), *map(str, system.services.web.children())]
    assert len(pids) == 3

    def resident(pid: str) -> int:
        pages = Path("/proc", pid, "statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def shown(name: str) -> float:
        return _scrape(web).samples[f"process_{name}", frozenset()]

    assert shown("resident_memory_bytes") == pytest.approx(sum(map(resident, pids)), rel=0.2)
    before = shown("cpu_seconds_total")
    eventually(lambda: shown("cpu_seconds_total") > before, "it takes time")


def test_the_dashboards_queries_find_their_series_in_the_running_processes(system: LiveSystem):
    """Each metric has the labels and the values that a query names; a real Prometheus: make dashboard-check."""
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 100)
    assert anna.compose(address, transfers=[(50, bo)]).status_code == 200
    day = {"begin": hour(0).isoformat(), "end": hour(1).isoformat()}
    declared = {"gsrn": [anna.consumption], "resolution": "hour", "beginRange": day}
    assert anna.api.request("/eco-declaration", declared).status_code == 200
    wanted = {
        (query.name, selector)
        for query in queries()
        for selector in selectors(promql_parser.parse(query.filled()))
        if selector.metric not in _ELSEWHERE
    }
    assert len(wanted) > 100

    def missing() -> set[str]:
        scrapes = [_scrape(url) for url in _urls(system)]
        return {
            f"{name}: {selector}"
            for name, selector in wanted
            if not any(selector.finds(each.labels_of(selector.metric)) for each in scrapes)
        }

    # The failure's message should name what is missing.
    with suppress(AssertionError):
        eventually(lambda: not missing(), "every query finds series")
    assert missing() == set()


def _urls(system: LiveSystem) -> list[str]:
    """Return the /metrics of web, worker and beat."""
    return [f"http://{target}/metrics" for target in system.services.metrics_targets]


def _scrape(url: str) -> Scrape:
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    return Scrape(answer.text)
