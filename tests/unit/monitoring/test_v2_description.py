"""Views of version 2 are described with problem details, strict queries and their headers."""

import json
from typing import Any

import jsonschema_rs
import pytest

from devstack.openapi_document import SETTINGS
from origin.app import create_app
from origin.monitoring.views.description import document as describe
from origin.monitoring.views.description import operations
from origin.settings import Settings
from tests.support.things import blueprint, things_app


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = create_app(Settings.of(SETTINGS))
    app.extensions["flask-smorest"]["apis"][""]["ext_obj"].register_blueprint(blueprint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(operations._GROUPS, "things", "GGO")
        found: dict[str, Any] = json.loads(json.dumps(describe(app)))
    return found


@pytest.fixture(scope="module")
def list_things(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"]["/v2/things"]["get"]
    return found


@pytest.fixture(scope="module")
def order_things(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"]["/v2/things"]["post"]
    return found


def _followed(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    found: Any = part
    while "$ref" in found:
        target = found["$ref"].removeprefix("#/").split("/")
        found = document
        for name in target:
            found = found[name]
    return dict(found)


def test_without_such_views_nothing_of_it_is_described():
    found = describe(create_app(Settings.of(SETTINGS)))
    has_v2 = any(path.startswith("/v2/") for path in found["paths"])
    assert ("Problem" in found["components"]["schemas"]) == has_v2


def test_the_parameters_of_a_query_are_described(list_things: dict[str, Any]):
    parameters = {each["name"]: each for each in list_things["parameters"]}
    assert parameters.keys() == {"limit", "cursor", "kind", "size", "from", "to", "timeZone"}
    assert all(each["description"] for each in parameters.values())
    assert all(each["in"] == "query" and not each["required"] for each in parameters.values())
    assert parameters["kind"]["explode"] is False
    assert parameters["limit"]["schema"]["maximum"] == 1000
    assert parameters["limit"]["schema"]["minimum"] == 1


def test_an_id_in_a_path_is_described(document: dict[str, Any]):
    [parameter] = document["paths"]["/v2/things/{thing_id}"]["get"]["parameters"]
    assert parameter == {
        "name": "thing_id",
        "in": "path",
        "required": True,
        "description": "The thing's id",
        "schema": {"type": "string", "format": "uuid"},
    }


def test_headers_are_described_beside_the_body(order_things: dict[str, Any]):
    parameters = {each["name"]: each for each in order_things["parameters"]}
    assert parameters.keys() == {"Idempotency-Key", "Prefer"}
    assert parameters["Idempotency-Key"]["required"] is True
    body = order_things["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/OrderBody")


def test_members_of_bodies_are_described(document: dict[str, Any]):
    period = document["components"]["schemas"]["PeriodBody"]
    assert set(period["required"]) == {"from", "to"}
    share = document["components"]["schemas"]["ThingTargetBody"]["properties"]["share"]
    assert share["pattern"].startswith("^")


def test_a_list_always_has_its_next_cursor(document: dict[str, Any]):
    schema = document["components"]["schemas"]["ThingList"]
    assert schema["required"] == ["nextCursor", "results"]


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/v2/things", "get", {"200", "400", "401", "403", "414", "429", "500", "502", "503"}),
        ("/v2/things/{thing_id}", "get", {"200", "400", "401", "403", "404", "500", "503"}),
        ("/v2/things/document", "get", {"200", "400", "401", "403", "406", "500", "503"}),
        ("/v2/things", "post", {"202", "400", "401", "403", "409", "413", "422", "500", "503"}),
    ],
)
def test_each_status_is_described(
    document: dict[str, Any], path: str, method: str, statuses: set[str]
):
    responses = document["paths"][path][method]["responses"]
    assert statuses <= responses.keys()
    assert responses.keys() <= statuses | {"408", "413", "414", "429", "431", "502"}
    for code, part in responses.items():
        response = _followed(document, part)
        assert "X-Request-ID" in response["headers"]
        if code not in {"200", "202", "414", "431"}:
            assert response["content"].keys() == {"application/problem+json"}
            assert response["content"]["application/problem+json"]["examples"]


def _examples(document: dict[str, Any], operation: dict[str, Any], code: str) -> dict[str, Any]:
    response = _followed(document, operation["responses"][code])
    found: dict[str, Any] = response["content"]["application/problem+json"]["examples"]
    return {code: each["value"] for code, each in found.items()}


def test_what_a_view_rejects_is_among_the_examples(
    document: dict[str, Any], list_things: dict[str, Any], order_things: dict[str, Any]
):
    assert _examples(document, list_things, "400").keys() == {"schema_violated", "invalid_cursor"}
    rejected = _examples(document, order_things, "400")
    assert rejected.keys() == {"schema_violated", "body_not_json", "idempotency_key_required"}
    assert rejected["schema_violated"]["errors"][0]["pointer"] == "/size"
    impossible = _examples(document, order_things, "422")
    assert impossible.keys() == {"idempotency_key_reused", "metering_point_unavailable"}


def test_every_example_and_every_real_answer_fits_the_schema(document: dict[str, Any]):
    schemas = {
        **document["components"]["schemas"]["Problem"],
        "components": {"schemas": document["components"]["schemas"]},
    }
    check = jsonschema_rs.validator_for(schemas)
    for name, methods in document["paths"].items():
        for operation in methods.values() if name.startswith("/v2/") else ():
            for code in operation["responses"].keys() - {"200", "202", "414", "431"}:
                for example in _examples(document, operation, code).values():
                    check.validate(example)
    client = things_app().test_client()
    for path in ("/v2/none", "/v2/things?size=x", "/v2/things?cursor=x"):
        check.validate(client.get(path).json)
    check.validate(client.post("/v2/things", json={"targets": [{}], "x": 1}).json)
