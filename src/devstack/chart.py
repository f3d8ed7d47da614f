"""Writes what the Helm chart has from elsewhere: `python -m devstack.chart` (`make chart`).

- `README.md`: the values, with the comments of values.yaml
- `values.schema.json`: their types, with the same comments; and the service's variables, with their types
  from `Settings` and their descriptions from doc/operations/variables.md
- `files/`: copies of the alert rules and the dashboard, because a chart can't read files outside of it;
  and the names of the service's secrets, which must not stand in `settings`
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # it has none

from devstack import chart_types
from devstack.processes import ROOT
from origin.settings import Settings

CHART = ROOT / "deploy/chart"
_COPIES = ("prometheus-alerts.yaml", "grafana-dashboard.json")
_BY_THE_CHART = frozenset({"PORT", "METRICS_PORT", "HEALTH_ENABLED", "DRAIN_SECONDS"})


@dataclass(frozen=True)
class Value:
    """One value of the chart: its path, its default, and the comment above it ("" if there is none)."""

    path: tuple[str, ...]
    default: Any
    comment: str
    children: tuple["Value", ...]

    @property
    def is_section(self) -> bool:
        """Return whether the README shows the children instead of this value."""
        return any(child.comment for child in self.children) or self.path == ("settings",)


def values(text: str) -> tuple[Value, ...]:
    """Return the values of values.yaml. A component's value without a comment has that of `web`."""
    lines = text.splitlines()
    found = _children(yaml.compose(text), lines, ())
    of_web = next((each.children for each in found if each.path == ("web",)), ())
    comments = {each.path[-1]: each.comment for each in of_web}
    return tuple(_with_comments(each, comments) for each in found)


def _children(node: Any, lines: list[str], path: tuple[str, ...]) -> tuple[Value, ...]:
    if not isinstance(node, yaml.MappingNode):
        return ()
    found = []
    for key, value in node.value:
        below = (*path, key.value)
        # Keys of a flow mapping ({a: 1}) share a line, and so have no comments of their own.
        comment = "" if node.flow_style else _comment(lines, key.start_mark.line)
        found.append(Value(below, _plain(value), comment, _children(value, lines, below)))
    return tuple(found)


def _plain(node: Any) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _comment(lines: list[str], line: int) -> str:
    """Return the comment lines directly above a line; list items stay on lines of their own."""
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words = [each.lstrip().removeprefix("#").strip() for each in lines[first:line]]
    return re.sub(r" (?=- )", "\n", " ".join(words)).strip() if words else ""


def _with_comments(value: Value, comments: dict[str, str]) -> Value:
    if value.path[0] not in {"worker", "beat", "migration", "test"}:
        return value
    children = tuple(
        Value(
            each.path, each.default, each.comment or comments.get(each.path[-1], ""), each.children
        )
        for each in value.children
    )
    return Value(value.path, value.default, value.comment, children)


def schema(found: tuple[Value, ...]) -> dict[str, Any]:
    """Return the JSON schema of the values. Unknown names are errors wherever the chart knows the names."""
    properties = {each.path[0]: _schema_of(each) for each in found}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart account-service",
        "description": "Written by `make chart`. Don't edit it by hand.",
        "type": "object",
        "additionalProperties": False,
        # Helm gives this one to every chart that another chart includes.
        "properties": {**properties, "global": {"type": "object"}},
    }


def _schema_of(value: Value) -> dict[str, Any]:
    described = {"description": value.comment} if value.comment else {}
    if value.path == ("settings",):
        return {**described, **_settings_schema()}
    given = chart_types.of(value.path, value.default)
    if given is None:
        properties = {each.path[-1]: _schema_of(each) for each in value.children}
        given = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**described, **given}


def _settings_schema() -> dict[str, Any]:
    """Return the schema of `settings`: all variables of the service, and those that its libraries read.

    Secrets and what the chart sets are allowed here: the chart's templates say what is wrong with them.
    """
    descriptions = _variables()
    fields = Settings.model_json_schema()["properties"]
    properties: dict[str, Any] = {}
    for name in sorted(descriptions.keys() | {field.upper() for field in fields}):
        field = chart_types.given(fields.get(name.lower(), {"type": "string"}))
        forbidden = name in _BY_THE_CHART or chart_types.is_secret(field)
        properties[name] = {} if forbidden else chart_types.of_setting(name, field)
        if text := descriptions.get(name):
            properties[name] = {"description": text, **properties[name]}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "patternProperties": {chart_types.PROXIES: {"type": "string"}},
    }


def _variables() -> dict[str, str]:
    """Return what doc/operations/variables.md says about each variable."""
    text = (ROOT / "doc/operations/variables.md").read_text()
    found = {}
    for names, _, what in re.findall(r"^\| (`[A-Z].*?) \| (.*?) \| (.*) \|$", text, re.MULTILINE):
        plain = re.sub(r"\s*\(?\[([^]]*)\]\([^)]*\)\)?", r" \1", what).strip()
        for name in re.findall(r"`([A-Z][A-Z0-9_]*)`", names):
            found[name] = plain
    return found


def readme(found: tuple[Value, ...]) -> str:
    """Return the chart's README: how to begin, and a table of values for each section."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    single = [each for each in found if not each.is_section]
    parts = [_BEGIN.format(version=chart["version"], kubernetes=chart["kubeVersion"])]
    parts += [_table("The whole release", "", single)]
    parts += [_section(each) for each in found if each.is_section]
    return "\n".join(parts)


def _section(value: Value) -> str:
    return _table(f"`{value.path[0]}`", value.comment, _rows(value))


def _rows(value: Value) -> list[Value]:
    rows: list[Value] = []
    for each in value.children:
        if each.is_section:
            rows += [Value(each.path, None, each.comment, ()), *_rows(each)]
        else:
            rows.append(each)
    return rows


def _table(title: str, text: str, rows: list[Value]) -> str:
    lines = [f"## {title}", "", *([text, ""] if text else [])]
    lines += ["| value | default | what it does |", "| --- | --- | --- |"]
    for each in rows:
        default = (
            "" if each.default is None else f"`{json.dumps(each.default, ensure_ascii=False)}`"
        )
        what = each.comment.replace("\n", "<br>").replace("|", "\\|")
        if each.path[0] == "settings" and not what:
            what = _variables()[each.path[1]]
        lines.append(f"| `{'.'.join(each.path)}` | {default} | {what} |")
    return "\n".join(lines) + "\n"


_BEGIN = """\
<!-- Written by `make chart` from values.yaml. Don't edit it by hand. -->
# The Helm chart account-service

Version {version}, for Kubernetes {kubernetes}. Which value do I set, to do what? \
[AccountService on Kubernetes](../../doc/operations/kubernetes.md) tells how to install, upgrade and watch \
it; [example.yaml](example.yaml) has values for production.

Helm rejects a value with a wrong name or type ([values.schema.json](values.schema.json)).
"""


_SECRETS = (
    "# The service's variables that are secrets. Written by `make chart`. Don't edit it by hand.\n"
)


def documents() -> dict[Path, str]:
    """Return the text of each file that this module writes."""
    found = values((CHART / "values.yaml").read_text())
    texts = {
        CHART / "README.md": readme(found),
        CHART / "values.schema.json": json.dumps(schema(found), indent=2, ensure_ascii=False)
        + "\n",
    }
    texts[CHART / "files/secrets.yaml"] = _SECRETS + yaml.safe_dump(
        sorted(name.upper() for name in Settings.secret_names())
    )
    for name in _COPIES:
        texts[CHART / "files" / name] = (ROOT / "doc/operations" / name).read_text()
    return texts


def main() -> None:
    """Write the files, and say which ones have changed."""
    for path, text in documents().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"  {path.relative_to(ROOT)} is new\n")


if __name__ == "__main__":
    main()
