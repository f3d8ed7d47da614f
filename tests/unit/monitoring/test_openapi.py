"""The API's description: complete, valid, and the same as the file in doc/."""

import json
from typing import Any

import jsonschema_rs
import pytest

from devstack.openapi_document import openapi_text
from devstack.processes import ROOT

RENEW = (
    "doc/openapi.json isn't what the views and schemas say: run `make openapi`, which is "
    "`PYTHONPATH=src .venv/bin/python -m devstack.openapi_document doc/openapi.json`"
)
TELL = "describe the field by its metadata (origin.web.described)"


@pytest.fixture(scope="module")
def text() -> str:
    return openapi_text()


@pytest.fixture(scope="module")
def document(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    paths = document["paths"].items()
    return [(f"{method} {path}", each) for path, has in paths for method, each in has.items()]


def test_the_file_in_doc_is_up_to_date(text: str):
    assert (ROOT / "doc/openapi.json").read_text() == text, RENEW


def test_every_field_is_explained(document: dict[str, Any]):
    bare = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, has in schema.get("properties", {}).items()
        if "description" not in has
    ]
    assert bare == [], TELL


def test_every_amount_has_its_unit(document: dict[str, Any]):
    for name, schema in document["components"]["schemas"].items():
        for field, has in schema.get("properties", {}).items():
            if "amount" in field.lower():
                assert "Wh" in has["description"], f"{name}.{field}"


def test_every_operation_is_explained(operations: list[tuple[str, dict[str, Any]]]):
    names = [each["operationId"] for _, each in operations]
    assert len(names) == len(set(names))
    for name, operation in operations:
        assert operation["summary"], name
        assert len(operation["tags"]) == 1, name
        assert operation["responses"].keys() & {"200", "303"}, name
        assert "500" in operation["responses"], name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], f"{name} {parameter['name']}: {TELL}"
    scopes = {name: each["security"] for name, each in operations}
    assert scopes["post /ggo/compose"] == [{"token": ["ggo.retire", "ggo.transfer"]}]
    assert scopes["post /webhook/on-ggo-issued"] == [{"signature": []}]
    assert scopes["get /health/live"] == []


def test_every_example_fits_its_schema(document: dict[str, Any]):
    for name, schema in document["components"]["schemas"].items():
        if name == "Error":
            continue
        [example] = schema["examples"]
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.validator_for(whole, validate_formats=True).validate(example)
