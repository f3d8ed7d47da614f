"""The API's description: complete, valid, and the same as the file in doc/."""

import hmac
import json
from base64 import b64decode
from collections import Counter
from typing import Any, NamedTuple

import jsonschema_rs
import pytest

from devstack.openapi_document import SETTINGS, openapi_text
from devstack.processes import ROOT
from origin.app import create_app
from origin.monitoring.views.description import document as describe
from origin.settings import Settings

RENEW = (
    "doc/openapi.json isn't what the views and schemas say: run `make openapi`, which is "
    "`PYTHONPATH=src .venv/bin/python -m devstack.openapi_document doc/openapi.json`"
)
TELL = "describe the field by its metadata (origin.web.described)"


class Operation(NamedTuple):
    """An operation, and where it stands."""

    name: str
    described: dict[str, Any]


@pytest.fixture(scope="module")
def text() -> str:
    return openapi_text()


@pytest.fixture(scope="module")
def document(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _operations(document: dict[str, Any], *parts: str) -> list[Operation]:
    return [
        Operation(f"{method} {path}", each)
        for part in parts
        for path, has in document[part].items()
        for method, each in has.items()
    ]


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> list[Operation]:
    return _operations(document, "paths")


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    found: Any = part
    while "$ref" in found:
        target = found["$ref"].removeprefix("#/").split("/")
        found = document
        for name in target:
            found = found[name]
    return dict(found)


def _contents(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return all contents of requests and responses, and where they stand."""
    found = []
    for name, operation in _operations(document, "paths", "webhooks"):
        has = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for place, part in has.items():
            for kind, content in _resolved(document, part).get("content", {}).items():
                found.append((f"{name} {place} {kind}", content))
    return found


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


def test_every_whole_number_has_64_bits(document: dict[str, Any]):
    schemas = json.dumps(document["components"]["schemas"])
    whole = schemas.count('"integer"')
    assert whole > 15
    assert schemas.count('"format": "int64"') == whole


def test_every_operation_is_explained(document: dict[str, Any]):
    operations = _operations(document, "paths", "webhooks")
    names = Counter(each["operationId"] for _, each in operations)
    assert [name for name, times in names.items() if times > 1] == []
    tags = {each["name"] for each in document["tags"]}
    for name, operation in operations:
        assert operation["operationId"].isalnum(), name
        assert operation["operationId"][0].islower(), name
        assert not operation["operationId"][-1].isdigit(), f"{name}: a second path? See _ALIASES"
        assert operation["summary"][0].isupper(), name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        assert len(operation["tags"]) == 1, name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], f"{name} {parameter['name']}: {TELL}"
    assert {tag for _, each in operations for tag in each["tags"]} == tags


def test_generated_clients_have_readable_names(operations: list[Operation]):
    names = {name: each["operationId"] for name, each in operations}
    assert names["post /ggo"] == "listGgos"
    assert names["post /ggo/compose"] == "composeGgo"
    assert names["post /compose"] == "composeGgoAlias"
    assert names["post /transfer/get-total-amount"] == "sumTransfers"
    assert names["post /webhook/on-ggo-received/subscribe"] == "subscribeToGgos"


def test_every_operation_says_what_it_may_answer(
    document: dict[str, Any], operations: list[Operation]
):
    for name, operation in operations:
        codes = operation["responses"].keys()
        assert codes & {"200", "303"}, name
        assert "500" in codes, name
        assert any(code.startswith("4") for code in codes), name
        for code, part in operation["responses"].items():
            response = _resolved(document, part)
            assert "X-Request-ID" in response["headers"], f"{name} {code}"
            assert ("Retry-After" in response["headers"]) == (code in {"409", "429", "503"}), name
            assert ("WWW-Authenticate" in response["headers"]) == (code in {"401", "403"}), name
            assert code == "303" or all(each["schema"] for each in response["content"].values())


def test_every_operation_names_its_scopes(document: dict[str, Any], operations: list[Operation]):
    scopes = {name: each["security"] for name, each in operations}
    both = [{"oauth2": ["ggo.retire", "ggo.transfer"]}, {"token": []}]
    assert scopes["post /ggo/compose"] == both
    assert scopes["post /webhook/on-ggo-issued"] == [{"signature": []}]
    assert scopes["get /health/live"] == []
    flow = document["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    demanded = {
        scope for each in scopes.values() for way in each for scope in way.get("oauth2", [])
    }
    assert demanded == flow["scopes"].keys()
    for name, operation in operations:
        if not operation["security"]:
            assert "No token is needed." in operation["description"], name
        for scope in next((way.get("oauth2", []) for way in operation["security"]), []):
            assert f"`{scope}`" in operation["description"], name


def test_the_login_is_that_of_the_deployment(document: dict[str, Any]):
    settings = {
        **SETTINGS,
        "hydra_url": "https://login.example/",
        "project_url": "https://a.example",
    }
    live = describe(create_app(Settings.of(settings)))
    flow = live["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    assert flow["authorizationUrl"] == "https://login.example/oauth2/auth"
    assert flow["tokenUrl"] == flow["refreshUrl"] == "https://login.example/oauth2/token"
    assert live["info"]["contact"]["url"] == "https://a.example"
    committed = document["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    assert committed["authorizationUrl"] == "https://hydra.example.com/oauth2/auth"


def test_every_request_and_response_has_examples_that_fit(document: dict[str, Any]):
    contents = _contents(document)
    assert len(contents) > 300
    for name, content in contents:
        examples = [each["value"] for each in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        assert examples, name
        whole = {**content["schema"], "components": document["components"]}
        validator = jsonschema_rs.validator_for(whole, validate_formats=True)
        for example in examples:
            validator.validate(example)


def test_errors_are_shown_by_their_codes(operations: list[Operation]):
    compose = dict(operations)["post /ggo/compose"]["responses"]["400"]
    examples = compose["content"]["application/json"]["examples"]
    assert examples["ggo_unavailable"]["value"]["message"].startswith("GGO not found or is unav")
    assert examples["unknown_recipients"]["value"]["message"] == {
        "transfers": {"0": {"account": ["No user exists with subject: nobody"]}}
    }


def test_the_examples_of_webhooks_are_signed(document: dict[str, Any]):
    assert document["webhooks"].keys() == {"ON_GGO_RECEIVED", "ON_FORECAST_RECEIVED"}
    for name, webhook in document["webhooks"].items():
        example = webhook["post"]["requestBody"]["content"]["application/json"]["example"]
        body = json.dumps(example, separators=(",", ":"))
        headers = {each["name"]: each["example"] for each in webhook["post"]["parameters"]}
        assert headers.keys() == {
            "x-hub-signature",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
        }, name
        signed = {
            "sha256=": ("x-hub-signature", body),
            "v1,": (
                "webhook-signature",
                f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}",
            ),
        }
        for prefix, (header, content) in signed.items():
            digest = hmac.digest(b"a long random text", content.encode(), "sha256")
            assert b64decode(headers[header].removeprefix(prefix)) == digest, f"{name} {header}"
        assert webhook["post"]["responses"].keys() == {"2XX", "410", "default"}
