"""Writes a dashboard as Grafana imports it: versions 10 to 12."""

import json
from collections.abc import Iterator, Sequence
from itertools import count
from string import ascii_uppercase
from typing import Any

from devstack.dashboard.model import Kind, Panel, Row
from origin.telemetry.metrics import NAMESPACE

Json = dict[str, Any]

COLUMNS = 24
_HEIGHTS = {Kind.STAT: 4, Kind.GRAPH: 8, Kind.TABLE: 8}
# Grafana 10.0's. Later versions migrate it when they load it.
_SCHEMA_VERSION = 38
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The same address as in the alerts' `runbook_url`: the runbook says how to replace it.
_RUNBOOK = "https://example.org/account-service/blob/main/doc/operations/runbook.md"
_BUILD = f"{NAMESPACE}_build_info"
_SCOPE = 'namespace=~"$namespace"'


def dashboard_text(rows: Sequence[Row]) -> str:
    """Return the dashboard as the content of a JSON file."""
    return json.dumps(_dashboard(rows), indent=1, ensure_ascii=False) + "\n"


def _dashboard(rows: Sequence[Row]) -> Json:
    return {
        "uid": "account-service",
        "title": "AccountService",
        "description": "Is AccountService well, and in step with the ledger?",
        "tags": ["account-service"],
        "schemaVersion": _SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [{**_link("Runbook", _RUNBOOK), "type": "link", "icon": "doc"}],
        "annotations": {"list": [_firing_alerts()]},
        "templating": {"list": list(_variables())},
        "panels": list(_placed(rows)),
    }


def _firing_alerts() -> Json:
    return {
        "name": "Alerts that fire",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f'ALERTS{{{_SCOPE},alertname=~"AccountService.*",alertstate="firing"}}',
        "titleFormat": "{{alertname}}",
        "step": "1m",
    }


def _variables() -> Iterator[Json]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
    }
    # `.*` also matches series without this label, so a scrape that sets no namespace works.
    yield _labels("namespace", "Namespace", f"label_values({_BUILD}, namespace)", allValue=".*")
    # No `.*` here: `up` has other programs' jobs, too. Every series in Prometheus has these labels.
    yield _labels("job", "Job", f"label_values({_BUILD}{{{_SCOPE}}}, job)")
    within = f'{_BUILD}{{{_SCOPE}, job=~"$job"}}'
    yield _labels("instance", "Instance", f"label_values({within}, instance)")


def _labels(name: str, label: str, query: str, **others: Any) -> Json:
    """Return a variable with the values of a label; several can be chosen at a time."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        # At each change of the time range: pods come and go.
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        **others,
    }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    """Return the rows and their panels, with ids and places. A closed row contains its panels."""
    ids = count(1)
    y = 0
    for row in rows:
        heading = {
            "id": next(ids),
            "type": "row",
            "title": row.title,
            "collapsed": not row.is_open,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        first = y = y + 1
        panels = []
        x = height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + height
            height = _HEIGHTS[panel.kind]
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            panels.append({"id": next(ids), "gridPos": place, **_panel(panel)})
            x += panel.width
        if row.is_open:
            y += height
            yield heading
            yield from panels
        else:
            y = first
            yield {**heading, "panels": panels}


def _panel(panel: Panel) -> Json:
    shown: Json = {
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "links": [_link(f"Runbook: {name}", f"{_RUNBOOK}#{name.lower()}") for name in panel.alerts],
        "targets": [
            _target(letter, legend, query, panel.kind)
            for letter, (legend, query) in zip(ascii_uppercase, panel.queries.items(), strict=False)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }
    if panel.kind is Kind.TABLE:
        shown["transformations"] = [
            {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}
        ]
    return shown


def _target(letter: str, legend: str, query: str, kind: Kind) -> Json:
    """Return a query. A panel of one value asks for the current one, so it never shows an old one."""
    is_instant = kind is not Kind.GRAPH
    return {
        "refId": letter,
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query,
        "legendFormat": legend,
        "instant": is_instant,
        "range": not is_instant,
        "format": "table" if kind is Kind.TABLE else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in panel.thresholds]
    mappings: list[Json] = [
        {
            "type": "value",
            "options": {f"{value:g}": {"text": text, "color": colour}},
        }
        for value, text, colour in panel.texts
    ]
    # A share or a percentile of nothing.
    mappings.append(
        {"type": "special", "options": {"match": "null+nan", "result": {"text": "none"}}}
    )
    defaults: Json = {
        "unit": panel.unit,
        "mappings": mappings,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    defaults["color"] = {"mode": "palette-classic" if panel.kind is Kind.GRAPH else "thresholds"}
    if panel.from_zero:
        defaults["min"] = 0
    if panel.kind is Kind.GRAPH:
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 10,
            "showPoints": "never",
            "spanNulls": False,
            "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
        }
    return defaults


_OPTIONS: dict[Kind, Json] = {
    Kind.GRAPH: {
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.STAT: {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    },
    Kind.TABLE: {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
}


def _link(title: str, url: str) -> Json:
    return {"title": title, "url": url, "targetBlank": True}
