"""The processes' logs: JSON lines from first to last, and one request id from request to task."""

import json
from typing import Any

from devstack.processes import SupervisedProcess
from tests.support.live_system import LiveSystem
from tests.support.waiting import eventually


def _lines(process: SupervisedProcess) -> list[dict[str, Any]]:
    whole, _, _ = process.output().rpartition("\n")
    # Not `splitlines`: requests may have other separators of lines, as U+0085, in their paths.
    return [json.loads(line) for line in whole.split("\n") if line]


def test_the_workers_log_has_the_request_id(system: LiveSystem):
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 100)
    anna.api.session.headers["X-Request-ID"] = f"order-of-{anna.subject}"
    answer = anna.compose(address, transfers=[(40, bo)])
    assert answer.headers["X-Request-ID"] == f"order-of-{anna.subject}"
    system.settle_and_audit()

    def found(process: SupervisedProcess, logger: str) -> list[dict[str, Any]]:
        return [
            line
            for line in _lines(process)
            if line["logger"] == logger and line.get("request_id") == f"order-of-{anna.subject}"
        ]

    [request] = found(system.services.web, "origin.telemetry.requests")
    tasks = eventually(
        lambda: found(system.services.worker, "origin.telemetry.tasks"), "the task ends"
    )
    assert {task["trace_id"] for task in tasks} == {request["trace_id"]}
    assert {task["task"] for task in tasks} >= {"origin.batches"}


def test_every_line_of_every_process_is_json(system: LiveSystem):
    """This includes the first lines, which gunicorn and Celery write."""
    expected = {"web": "Listening at", "worker": "ready.", "beat": "beat: Starting..."}
    for process in system.services.all:
        lines = _lines(process)
        assert any(expected[process.name] in line["message"] for line in lines), process.name
        assert all(line["service"] == "AccountService" for line in lines)
        assert all(line["level"] and line["time"] for line in lines)
