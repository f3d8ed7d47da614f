"""The chart's README, schema and copied files are those that `make chart` writes."""

import yaml

from devstack import chart
from origin.settings import Settings


def test_the_files_are_up_to_date():
    for path, text in chart.documents().items():
        assert path.read_text() == text, f"{path.name} is out of date: run `make chart`"


def test_every_value_says_what_it_does():
    def undescribed(values):
        for each in values:
            if each.is_section:
                yield from undescribed(each.children)
            elif not each.comment and each.path[0] != "settings":
                yield ".".join(each.path)

    found = chart.values((chart.CHART / "values.yaml").read_text())
    assert list(undescribed(found)) == []


def test_the_schema_knows_every_variable_of_the_service():
    schema = yaml.safe_load((chart.CHART / "values.schema.json").read_text())
    known = schema["properties"]["settings"]["properties"]
    assert {name.upper() for name in Settings.model_fields} <= set(known)
    for name in Settings.model_fields:
        assert known[name.upper()].get("description"), f"{name} isn't in variables.md"


def test_comments_belong_to_the_value_below_them():
    text = """\
# About the file.

# Whether
# to begin.
begin: true
web:
  # How
  # - many
  # - pods
  pods: 1
  size: {small: 2}
worker:
  pods: 3
"""
    begin, web, worker = chart.values(text)
    assert (begin.path, begin.comment) == (("begin",), "Whether to begin.")
    assert [each.comment for each in web.children] == ["How\n- many\n- pods", ""]
    assert web.children[1].children[0].path == ("web", "size", "small")
    assert worker.children[0].comment == web.children[0].comment
