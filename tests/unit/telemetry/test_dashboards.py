"""The dashboard and the alert rules use existing metrics only."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.processes import ROOT
from origin.batches.rules.differences import DifferenceKind
from origin.monitoring.service.database_gauges import GAUGE_QUERIES
from origin.telemetry.metrics import NAMESPACE, REGISTRY

FOLDER = ROOT / "doc/operations"
METRIC = re.compile(rf"\b{NAMESPACE}_\w+")


def known_names() -> set[str]:
    """Return each metric's name as Prometheus stores it."""
    names = {f"{NAMESPACE}_database_up", f"{NAMESPACE}_redis_up"}
    for query in GAUGE_QUERIES:
        names |= {f"{NAMESPACE}_{name}" for name in query.gauges}
    for family in REGISTRY.collect():
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_count", "_sum"],
            "info": ["_info"],
        }
        names |= {f"{family.name}{suffix}" for suffix in suffixes.get(family.type, [""])}
    return names


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-alerts.yaml"])
def test_every_named_metric_exists(name: str):
    named = set(METRIC.findall((FOLDER / name).read_text()))
    assert len(named) > 10
    assert named <= known_names()


@pytest.mark.parametrize("name", ["clock_skew_seconds", "recovery_mode", "ledger_enabled"])
def test_the_dashboard_shows_clocks_and_modes(name: str):
    assert f"{NAMESPACE}_{name}" in (FOLDER / "grafana-dashboard.json").read_text()


def test_ggos_never_sent_raise_no_alarm():
    """Such GGOs stay different from the ledger forever: doc/architecture.md, Without a ledger."""
    rules = (FOLDER / "prometheus-alerts.yaml").read_text()
    assert f'{NAMESPACE}_ledger_differences{{kind!="{DifferenceKind.NEVER_SENT.value}"}}' in rules


def test_the_rules_are_complete():
    document: dict[str, Any] = yaml.safe_load(Path(FOLDER / "prometheus-alerts.yaml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)


def test_ggos_never_sent_are_excluded_from_alerts():
    """Otherwise they would permanently hide alerts about theft."""
    document: dict[str, Any] = yaml.safe_load(Path(FOLDER / "prometheus-alerts.yaml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    [rule] = [each for each in rules if "ledger_differences" in each["expr"]]
    assert f'kind!="{DifferenceKind.NEVER_SENT}"' in rule["expr"]
    for rule in rules:
        assert rule["expr"].count("(") == rule["expr"].count(")"), rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]


def _rules() -> list[dict[str, Any]]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus-alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_the_runbook_has_a_section_for_each_alert_and_for_nothing_else():
    sections = re.findall(r"^## (\w+)$", (FOLDER / "runbook.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in _rules()]


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_leads_to_its_section(rule: dict[str, Any]):
    """The section says what the alert means, how to look, and what to do."""
    base = "https://example.org/account-service/blob/main/"
    path, anchor = rule["annotations"]["runbook_url"].removeprefix(base).split("#")
    text = (ROOT / path).read_text()
    assert anchor == rule["alert"].lower()
    _, _, section = text.partition(f"\n## {rule['alert']}\n")
    section = section.partition("\n## ")[0]
    assert [section.count(each) for each in ("**It means:**", "**Look:**", "**Do")] == [1, 1, 1]
    # The section's variables and metrics exist: test_variables_page.py and METRIC below.
    assert set(METRIC.findall(section)) <= known_names()


def _first_cells(text: str) -> list[str]:
    """Return the names in code marks in the first cells of the text's tables, row by row."""
    rows = re.findall(r"^\| (`[\w`, .]+) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]


def _section(page: str, heading: str) -> str:
    _, _, rest = (FOLDER / page).read_text().partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def _found_in_the_code(pattern: str) -> set[str]:
    sources = (ROOT / "src/origin").rglob("*.py")
    return {name for path in sources for name in re.findall(pattern, path.read_text())}


def test_the_runbook_explains_each_reason_of_a_batch_that_needs_a_look():
    reasons = _found_in_the_code(r'BATCH_ALERTS\.labels\("(\w+)"\)')
    assert set(_first_cells(_section("runbook.md", "AccountServiceBatchNeedsALook"))) == reasons


def test_the_runbook_explains_each_kind_of_difference():
    told = _first_cells(_section("runbook.md", "AccountServiceDiffersFromLedger"))
    assert sorted(told) == sorted(kind.value for kind in DifferenceKind)


def test_the_page_on_observing_lists_each_metric():
    told = _first_cells(_section("observing.md", "Metrics"))
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known_names()}
    ours = {name for name in names if name.startswith(NAMESPACE)}
    assert sorted(f"{NAMESPACE}_{name}" for name in told) == sorted(ours)


def test_the_page_on_observing_lists_each_event():
    said = _found_in_the_code(r'"event": "([a-z]+\.[a-z_]+)"')
    said |= _found_in_the_code(r'\.alert\([\w]+, "([a-z]+\.[a-z_]+)"')
    told = _first_cells(_section("observing.md", "Log"))
    assert len(told) == len(set(told))
    assert {name for name in told if "." in name} == said
