"""Reads the dashboard as Grafana does: its panels, its queries, and the values of its variables."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devstack.processes import ROOT

DASHBOARD = ROOT / "doc/operations/grafana-dashboard.json"
ALL = ".*"


@dataclass(frozen=True)
class DashboardQuery:
    """A query of a panel, with Grafana's variables."""

    panel: dict[str, Any]
    expression: str
    legend: str

    @property
    def name(self) -> str:
        """The panel and the legend, for messages."""
        return f"{self.panel['title']}: {self.legend or 'its value'}"

    def filled(
        self, *, namespace: str = ALL, job: str = ALL, instance: str = ALL, rate: str = "1m"
    ) -> str:
        """Return the query with values in place of the variables."""
        return filled(
            self.expression, namespace=namespace, job=job, instance=instance, __rate_interval=rate
        )


def filled(query: str, **values: str) -> str:
    """Return a query with these values in place of the variables of these names."""
    for name, value in values.items():
        query = query.replace(f"${name}", value)
    return query


def dashboard() -> dict[str, Any]:
    """Return the dashboard's JSON."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> Iterator[dict[str, Any]]:
    """Return all rows and panels in their order, those of closed rows included."""
    for panel in dashboard()["panels"]:
        yield panel
        yield from panel.get("panels", ())


def queries() -> Iterator[DashboardQuery]:
    """Return the queries of all panels."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield DashboardQuery(panel, target["expr"], target["legendFormat"])


def variables() -> dict[str, str]:
    """Return the queries of the variables, by the variable's name."""
    return {
        each["name"]: each["query"]["query"]
        for each in dashboard()["templating"]["list"]
        if each["type"] == "query"
    }
