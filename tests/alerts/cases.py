"""The cases of `cases.yaml`, and the file that `promtool test rules` reads."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml

from devstack.processes import ROOT
from origin.telemetry.metrics import NAMESPACE

RULES = ROOT / "doc/operations/prometheus-alerts.yaml"
CASES = Path(__file__).with_name("cases.yaml")


class _Strings(yaml.SafeLoader):
    """Reads strings only: otherwise `0x20` is a hexadecimal number. `<<` still merges mappings."""

    yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # noqa: RUF012 - PyYAML's


@dataclass(frozen=True)
class Case:
    """Series, and which alerts of a rule fire on them.

    :ivar alerts: The labels of each alert, without `severity`. Empty: the rule is silent.
    """

    rule: str
    name: str
    at: str
    series: Mapping[str, str]
    alerts: tuple[Mapping[str, str], ...]


@cache
def read_rules() -> dict[str, dict[str, Any]]:
    """Return the alert rules by name."""
    document = yaml.safe_load(RULES.read_text())
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def read_cases() -> Iterator[Case]:
    """Return the cases of each rule."""
    for rule, cases in _document()["rules"].items():
        for each in cases["fires"]:
            alerts = tuple(each.get("alerts", [{}]))
            yield Case(rule, f"fires: {each['name']}", each["at"], each["series"], alerts)
        for each in cases["silent"]:
            yield Case(rule, f"is silent: {each['name']}", each["at"], each["series"], ())


def read_rest() -> Iterator[Case]:
    """Return the cases in which no rule fires, once for each rule."""
    for each in _document()["at_rest"]:
        for rule in read_rules():
            yield Case(rule, f"at rest: {each['name']}", each["at"], each["series"], ())


def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(CASES.read_text(), Loader=_Strings)  # noqa: S506 - it is safe
    return document


def promtool_test() -> dict[str, Any]:
    """Return the file for `promtool test rules` that has all cases."""
    at_rest = groupby(read_rest(), attrgetter("name"))
    return {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            *(_test(name, list(cases)) for name, cases in at_rest),
            *(_test(f"{case.rule} {case.name}", [case]) for case in read_cases()),
        ],
    }


def _test(name: str, cases: list[Case]) -> dict[str, Any]:
    """Return a test of cases that have the same series."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [
            {"series": f"{NAMESPACE}_{series}", "values": _spelled_out(str(values))}
            for series, values in cases[0].series.items()
        ],
        "alert_rule_test": [
            {"eval_time": case.at, "alertname": case.rule, "exp_alerts": _expected(case)}
            for case in cases
        ],
    }


def _expected(case: Case) -> list[dict[str, Any]]:
    rule = read_rules()[case.rule]
    return [
        {
            "exp_labels": {**rule["labels"], **labels},
            "exp_annotations": {
                name: _with_labels(text, labels) for name, text in rule["annotations"].items()
            },
        }
        for labels in case.alerts
    ]


def _spelled_out(values: str) -> str:
    """Return each value on its own: promtool can't repeat NaN."""
    return " ".join(each for token in values.split() for each in _samples(token))


def _samples(token: str) -> list[str]:
    """Return what `5`, `5x2` (5 5 5), `5+2x2` (5 7 9), `_` or `_x3` (_ _ _) stands for."""
    value, _, times = token.partition("x")
    if value == "_":
        return ["_"] * int(times or 1)
    first, step = re.findall(r"NaN|[+-]?[\d.]+", value + "+0")[:2]
    samples = [float(first) + float(step) * number for number in range(int(times or 0) + 1)]
    return ["NaN" if first == "NaN" else f"{each:.12g}" for each in samples]


def _with_labels(text: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
