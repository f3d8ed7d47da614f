"""Metrics of the running processes: a web with several processes, worker and beat."""

import requests

from devstack.ports import free_port
from devstack.processes import answers
from tests.support.live_system import LiveSystem
from tests.support.scraping import Scrape
from tests.support.waiting import eventually


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
    """Return whether counters are exported that have not counted anything."""
    alert = ("account_service_batch_alerts_total", frozenset({("reason", "cannot_end")}))
    sent = ("account_service_tasks_sent_total", frozenset({("task", "origin.pruning")}))
    return scrape.samples.get(alert) == 0 and sent in scrape.samples


def test_counters_of_the_web_exist_before_their_first_event(system: LiveSystem):
    assert _begins_with_0(_scrape(f"{system.stack.url}/metrics"))


def test_worker_and_beat_answer_for_themselves(system: LiveSystem):
    worker, beat = system.services.worker, system.services.beat
    ports = {process.name: free_port() for process in (worker, beat)}
    for process in (worker, beat):
        process.env["METRICS_PORT"] = str(ports[process.name])
        process.restart()
    scrapes = {name: f"http://127.0.0.1:{port}/metrics" for name, port in ports.items()}
    for url in scrapes.values():
        eventually(lambda url=url: answers(url)(""), "it answers")
    sweep = {"task": "origin.batches"}
    eventually(
        lambda: _scrape(scrapes["beat"]).value("tasks_sent_total", **sweep) >= 2, "beat sends"
    )
    eventually(
        lambda: (
            _scrape(scrapes["worker"]).value("task_seconds_count", state="SUCCESS", **sweep) >= 2
        ),
        "the worker works",
    )
    assert all(_begins_with_0(_scrape(url)) for url in scrapes.values())
    failed = frozenset({("task", "origin.technologies"), ("state", "FAILURE")})
    assert ("account_service_task_seconds_count", failed) in _scrape(scrapes["worker"]).samples
    assert "process_resident_memory_bytes" in _scrape(scrapes["worker"]).names


def _scrape(url: str) -> Scrape:
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    return Scrape(answer.text)
