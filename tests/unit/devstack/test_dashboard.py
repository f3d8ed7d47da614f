"""The dashboard for Grafana: its file, its layout, and what its queries name."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import yaml

from devstack.dashboard.grafana import COLUMNS, dashboard_text
from devstack.dashboard.rows import ROWS
from devstack.processes import ROOT
from origin.telemetry.metrics import NAMESPACE
from tests.support.dashboard_queries import (
    DASHBOARD,
    dashboard,
    panels,
    queries,
    variables,
)
from tests.support.promql import selectors
from tests.unit.telemetry.test_dashboards import known_names

# `up` and `ALERTS` are Prometheus' own, the others prometheus_client's.
_OF_OTHERS = {"up", "ALERTS"} | {
    f"process_{name}"
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "start_time_seconds")
}


def _every_panel() -> Iterator[dict[str, Any]]:
    return (panel for panel in panels() if panel["type"] != "row")


def test_the_file_is_generated():
    """If it differs: make dashboard."""
    assert DASHBOARD.read_text() == dashboard_text(ROWS)


def test_panels_fill_their_lines_and_have_ids_of_their_own():
    everything = list(panels())
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: dict[tuple[str, int], int] = {}
    row = ""
    for panel in everything:
        place = panel["gridPos"]
        row = panel["title"] if panel["type"] == "row" else row
        line = (row, place["y"])
        assert taken.get(line, 0) == place["x"], panel["title"]
        taken[line] = place["x"] + place["w"]
    assert set(taken.values()) == {COLUMNS}


def test_only_the_first_row_is_open():
    rows = [panel for panel in panels() if panel["type"] == "row"]
    assert [row["collapsed"] for row in rows] == [False] + [True] * (len(rows) - 1)


def test_a_panel_leads_to_each_alert():
    rules = yaml.safe_load((ROOT / "doc/operations/prometheus-alerts.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    links = {link["title"] for panel in _every_panel() for link in panel["links"]}
    assert links == {f"Runbook: {alert}" for alert in alerts}


def test_each_panel_tells_what_it_shows_and_leads_to_the_runbook():
    page = (ROOT / "doc/operations/runbook.md").read_text()
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    for panel in _every_panel():
        title = panel["title"]
        assert re.search(r"\bGood: |o value is good or bad", panel["description"]), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        for link in panel["links"]:
            name = link["title"].removeprefix("Runbook: ")
            assert name in sections, title
            assert link["url"].endswith(f"/doc/operations/runbook.md#{name.lower()}"), title


def test_each_query_names_existing_metrics():
    """That the labels exist, too: tests/e2e/test_metrics.py."""
    known = known_names() | _OF_OTHERS
    for query in queries():
        for selector in selectors(promql_parser.parse(query.filled())):
            assert selector.metric in known, query.name
        groups = re.findall(r"by \(([^)]*)\)", query.expression)
        kept = {label for group in groups for label in group.split(", ")}
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= kept | {"job", "instance"}, query.name


def test_each_query_asks_for_the_chosen_namespace_and_job():
    for query in queries():
        for selector in selectors(promql_parser.parse(query.filled(namespace="N", job="J"))):
            # Alerts have no job: they add up those of a namespace.
            job = set() if selector.metric == "ALERTS" else {("job", "=~J")}
            assert {("namespace", "=~N")} | job <= selector.matchers, query.name


def test_the_dashboard_shows_every_metric_of_ours():
    shown = set(re.findall(rf"\b{NAMESPACE}_\w+", DASHBOARD.read_text()))
    part = re.compile(r"_(bucket|count|sum)$")
    ours = {part.sub("", name) for name in known_names() if name.startswith(NAMESPACE)}
    assert ours - {part.sub("", name) for name in shown} == set()


def test_the_variables_ask_for_labels_of_a_metric_that_each_process_has():
    assert list(variables()) == ["namespace", "job", "instance"]
    for name, query in variables().items():
        assert re.fullmatch(rf"label_values\({NAMESPACE}_build_info.*, {name}\)", query)


def test_a_scrape_without_namespaces_is_shown():
    """Grafana puts `allValue` in place of a variable without values."""
    [namespace] = [
        each for each in dashboard()["templating"]["list"] if each["name"] == "namespace"
    ]
    assert namespace["includeAll"]
    assert namespace["allValue"] == ".*"
    assert namespace["current"]["value"] == ["$__all"]
