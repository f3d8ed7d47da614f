"""A request's id and trace in its response, in logs, at peers and in tasks."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from origin.telemetry import context
from origin.telemetry.formatters import JsonFormatter
from origin.telemetry.tasks import task_headers
from tests.support.market import CONSUMPTION, Market

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Lines(logging.Handler):
    """The lines that a process would write."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("test"))
        self.entries: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append(json.loads(self.format(record)))


@pytest.fixture
def lines(market: Market) -> Iterator[Lines]:
    """Collect all lines from now on. The market comes first, because it configures logging."""
    assert market.app.name
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_id_and_trace_are_the_same_everywhere(market: Market, lines: Lines):
    address = market.issue(100)
    market.consume(amount=100)
    lines.entries.clear()
    answer = market.compose(
        address,
        retires=[(40, CONSUMPTION)],
        **{"X-Request-ID": "order-17", "traceparent": f"00-{TRACE}-{PARENT}-01"},
    )
    assert answer.status_code == 200
    assert answer.headers["X-Request-ID"] == "order-17"
    [line] = [each for each in lines.entries if each["logger"] == "origin.telemetry.requests"]
    assert line["message"] == "POST /ggo/compose 200"
    assert (line["request_id"], line["trace_id"]) == ("order-17", TRACE)
    assert line["user_id"] == market.value("SELECT id FROM users WHERE subject = 'alice'")
    assert line["ms"] > 0
    assert "alice" not in json.dumps(line)


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü", "a;b", 'a"b'])
def test_an_id_that_could_forge_a_log_line_is_replaced(market: Market, given: str):
    header = market.client().get("/health/live", headers={"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", header.headers["X-Request-ID"])


def test_errors_have_an_id_too(market: Market, lines: Lines):
    for path, status in (("/nowhere", 404), ("/ggo", 401)):
        answer = market.client().post(path, headers={"X-Request-ID": "lost"})
        assert answer.status_code == status
        assert answer.headers["X-Request-ID"] == "lost"
        assert lines.entries[-1]["status"] == status
    assert context.current_request_id() is None


def test_the_code_of_a_login_is_not_logged(market: Market, lines: Lines):
    market.client().get("/auth/login/callback?code=the-code&state=the-state")
    [line] = [each for each in lines.entries if each["logger"] == "origin.telemetry.requests"]
    assert line["message"] == "GET /auth/login/callback 400"
    assert "the-" not in json.dumps(lines.entries)


def test_tasks_carry_the_requests_id():
    assert task_headers() == {}
    span = context.begin_work("POST /ggo/compose", "order-17", None)
    try:
        assert task_headers() == {"X-Request-ID": "order-17", "traceparent": span.header}
    finally:
        context.end_work()
