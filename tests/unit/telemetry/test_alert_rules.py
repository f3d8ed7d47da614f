"""The alert rules: metrics and labels that exist, and cases for promtool (`make alerts-check`)."""

import importlib
import re
from typing import Any

import pytest

from devstack.processes import ROOT
from origin.monitoring.service.database_gauges import GAUGE_QUERIES
from origin.tasks.celery import TASKS
from origin.telemetry.metrics import NAMESPACE, REGISTRY, exposition
from origin.telemetry.tasks import watch_sending
from origin.webhooks.rules.deliveries import Outcome
from tests.alerts.cases import Case, promtool_test, read_cases, read_rest, read_rules
from tests.support.scraping import Scrape

RULES = read_rules()
_SELECTOR = re.compile(rf"\b{NAMESPACE}_(\w+)(?:{{([^}}]*)}})?")
_FROM_PROMETHEUS = {"namespace", "instance", "job"}


def documented_labels() -> dict[str, set[str]]:
    """Return the labels of each metric that the page on observing lists, without the namespace."""
    page = (ROOT / "doc/operations/observing.md").read_text()
    page = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([`\w, ]+) \| ?([`\w, ]*) \|", page, re.MULTILINE)
    return {
        name: set(re.findall(r"`(\w+)`", labels))
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }


def labels_of(name: str) -> set[str]:
    """Return the labels of a series."""
    documented = documented_labels()
    for base, label in ((name, set()), (name.removesuffix("_bucket"), {"le"})):
        if base in documented:
            return documented[base] | label
    return documented[re.sub(r"_(count|sum)$", "", name)]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_uses_labels_that_exist(rule: dict[str, Any]):
    selectors = _SELECTOR.findall(rule["expr"])
    assert selectors
    for name, matchers in selectors:
        used = set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", matchers))
        assert used <= labels_of(name), name
    grouped = {
        label for by in re.findall(r"by \(([\w, ]+)\)", rule["expr"]) for label in by.split(", ")
    }
    known = set().union(*(labels_of(name) for name, _ in selectors))
    assert grouped - _FROM_PROMETHEUS <= known
    texts = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= grouped


def test_the_page_on_observing_names_the_labels_that_are_exported():
    documented = documented_labels()
    for query in GAUGE_QUERIES:
        for name in query.gauges:
            assert documented[name] == set(query.labels), name
    for family in REGISTRY.collect():
        name = family.name.removeprefix(f"{NAMESPACE}_")
        for sample in family.samples:
            if name != family.name and not sample.name.endswith("_created"):
                assert set(sample.labels) == labels_of(sample.name.removeprefix(f"{NAMESPACE}_"))


def test_each_rule_has_cases_in_which_it_fires_and_in_which_it_is_silent():
    cases = list(read_cases())
    assert {case.rule for case in cases if case.alerts} == set(RULES)
    assert {case.rule for case in cases if not case.alerts} == set(RULES)


@pytest.mark.parametrize(
    "case", [case for case in read_cases() if case.rule != "AccountServiceDown"], ids=str
)
def test_a_case_has_series_that_its_rule_reads(case: Case):
    """Otherwise a rule that reads nothing would be silent, too."""
    if "no web can read" in case.name:
        return  # Then there are no database gauges.
    read = {name for name, _ in _SELECTOR.findall(RULES[case.rule]["expr"])}
    given = {series.partition("{")[0] for series in case.series}
    assert read & given


def test_the_rest_without_metrics_of_workers_has_all_else():
    """Otherwise a rule could be silent at rest because its series is missing in the case."""
    at_rest = next(read_rest())
    given = {series.partition("{")[0] for series in at_rest.series}
    read = {name for rule in RULES.values() for name, _ in _SELECTOR.findall(rule["expr"])}
    assert read - given == {"task_seconds_count"}


def test_the_file_for_promtool_spells_values_out():
    tests = {test["name"]: test for test in promtool_test()["tests"]}
    test = tests[
        "AccountServiceErrors fires: the first 500 of an endpoint; its series begins with 1"
    ]
    assert test["input_series"][0]["values"] == " ".join(["_"] * 10 + ["1"] * 21)
    assert "NaN NaN 0 60 120 " in next(iter(tests.values()))["input_series"][13]["values"]
    assert len(tests) > 2 * len(RULES)


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("batches_ended_total", "state", {"COMPLETED", "DECLINED"}),
        ("webhooks_total", "outcome", {outcome.name.lower() for outcome in Outcome}),
        ("token_refreshes_total", "outcome", {"refreshed", "refused", "failed"}),
        ("ledger_errors_total", "code", {"30", "31", "75", "none", "other"}),
        ("tasks_sent_total", "task", set(TASKS)),
    ],
)
def test_a_counter_is_exported_before_its_first_event(name: str, label: str, values: set[str]):
    watch_sending(TASKS)
    assert importlib.import_module("origin.batches.client.ledger")
    assert values <= exported_values(name, label)


def test_each_counter_is_exported_before_its_first_event():
    """Otherwise `increase()` of its first event would be 0."""
    watch_sending(TASKS)
    importlib.import_module("origin.batches.client.ledger")
    empty = {
        family.name
        for family in REGISTRY.collect()
        if family.type == "counter" and not family.samples
    }
    assert empty == set()


def test_each_reason_of_an_alert_about_a_batch_is_exported_before_the_first():
    code = "".join(path.read_text() for path in (ROOT / "src/origin").rglob("*.py"))
    used = set(re.findall(r'BATCH_ALERTS\.labels\("(\w+)"\)', code))
    assert used == exported_values("batch_alerts_total", "reason")


def exported_values(name: str, label: str) -> set[str]:
    """Return the values of a label that this process exports."""
    samples = Scrape(exposition().decode()).samples
    return {dict(labels)[label] for found, labels in samples if found == f"{NAMESPACE}_{name}"}
