"""Renders the Helm chart, for the checks beside it."""

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy/chart"
NAMESPACE = "production"
RELEASE = "accounts"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SETS = {
    # A copy by JSON: YAML's anchors would share objects in memory.
    path.stem.removesuffix("-values"): json.loads(json.dumps(yaml.safe_load(path.read_text())))
    for path in (CHART / "example.yaml", *sorted((CHART / "ci").glob("*-values.yaml")))
}
"""Sets of values by name: example, everything, minimal, no-ledger, tls-sentinel."""

Object = dict[str, Any]


@functools.cache
def _chart() -> helm.Chart:
    return helm.Chart.load(CHART)


@functools.lru_cache(maxsize=1000)
def _rendered(values: str) -> dict[str, str]:
    return _chart().render(json.loads(values), name=RELEASE, namespace=NAMESPACE)


def texts(values: dict[str, Any]) -> dict[str, str]:
    """Return each template's text, NOTES.txt included.

    :raises helm.HelmError: if the values don't fit.
    """
    return _rendered(json.dumps(values))


def objects(values: dict[str, Any]) -> list[Object]:
    """Return the objects that the chart makes of these values."""
    return [
        each
        for template, text in texts(values).items()
        if template.endswith(".yaml")
        for each in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if each
    ]


def changed(values: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the values with another one at this path."""
    result = copy.deepcopy(values)
    inner = result
    for name in path[:-1]:
        inner = inner.setdefault(name, {})
    inner[path[-1]] = value
    return result


def of_kind(found: list[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [each for each in found if each["kind"] in kinds]


def named(found: list[Object], kind: str, name: str) -> Object:
    """Return the object of this kind and name."""
    [result] = [each for each in of_kind(found, kind) if each["metadata"]["name"] == name]
    return result


def pods(found: list[Object]) -> dict[str, Object]:
    """Return the pods by component, each with `metadata` and `spec`: web, worker, beat, migration, test."""
    templates = [each["spec"]["template"] for each in of_kind(found, "Deployment", "Job")]
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each
        for each in (*templates, *of_kind(found, "Pod"))
    }


def containers(pod: Object) -> Iterator[Object]:
    """Yield all containers of a pod, the initial ones first."""
    yield from pod["spec"].get("initContainers", ())
    yield from pod["spec"]["containers"]


def environment(pod: Object) -> dict[str, Object]:
    """Return the variables of the service's container by name; each has `value` or `valueFrom`."""
    component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
    [container] = [each for each in pod["spec"]["containers"] if each["name"] == component]
    env = container["env"]
    names = [each["name"] for each in env]
    assert len(names) == len(set(names)), f"{component} has a variable twice: {sorted(names)}"
    return {each["name"]: each for each in env}


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Return whether a label selector selects these labels. An empty one selects everything."""
    by_key = {key: [value] for key, value in selector.get("matchLabels", {}).items()}
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In"
        by_key[each["key"]] = each["values"]
    return all(labels.get(key) in allowed for key, allowed in by_key.items())
