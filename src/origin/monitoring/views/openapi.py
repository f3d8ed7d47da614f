"""The OpenAPI document, generated from the views and their schemas (contract: http-api, Operations).

flask-smorest describes the schemas. This module adds what holds for all views: scopes, errors,
request ids, examples. A test compares `doc/openapi.json` with it; `make openapi` renews the file.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

import flask_smorest
import orjson
from flask import Flask, Response, current_app

from origin.identity.authentication import Guard, guard_of
from origin.intake.views import GramsPerWh
from origin.shared.release import VERSION
from origin.web.blueprint import Blueprint
from origin.web.fields import Time

blueprint = Blueprint("openapi", __name__)

Json = dict[str, Any]

_EXTENSION = "origin_openapi"
_SCHEMAS = "#/components/schemas/"
_RESPONSES = "#/components/responses/"
_METHODS = ("get", "post")
_GROUPS = {
    "login": ("Login", "Logging in at Hydra with a browser."),
    "accounts": ("Accounts", "The caller's account, disabling it, and finding suppliers."),
    "suppliers": ("Accounts", ""),
    "ggos": ("GGOs", "The caller's GGOs: listing, summing and splitting them."),
    "compose": ("GGOs", ""),
    "transfers": ("Transfers", "The transfers that the caller sent and received."),
    "forecasts": ("Forecasts", "Forecasts of what a sender expects to transfer."),
    "declarations": ("Environment declarations", "The emissions and technologies of consumption."),
    "webhooks_in": ("Webhooks in", "Called by DataHubService, signed with WEBHOOK_SECRET."),
    "subscriptions": ("Webhook subscriptions", "The URLs at which the caller receives events."),
    "operations": ("Operations", "For the operators of the service."),
}
_DESCRIPTION = """\
Accounts of granular guarantees of origin (GGOs). Each GGO stands for an amount of electricity, in Wh,
that one meter measured in one hour.

* Energy is in **Wh**, whole numbers. Emissions of a GGO are in grams per Wh.
* Times are **ISO 8601**; without an offset they are in the request's `utcOffset`, else in UTC.
* `null` for an optional field means that it is absent. An unknown field is an error.
* Every answer has an `X-Request-ID`: the request's own if it sent a valid one, else a new one.
* Errors have one shape: `{"success": false, "message": …}`. The message is a sentence, or an object
  of messages by field if the body does not fit its schema. `400` is final; after `5xx` and `429` try
  again.
"""
_ERRORS = {
    "400": "Rejected; nothing was changed",
    "401": "No valid token of an active account, or no valid signature",
    "403": "The token lacks a scope, or the account's holder must log in here again",
    "408": "The body took longer than BODY_TIME_LIMIT to arrive",
    "409": "A request with this Idempotency-Key still runs",
    "413": "The body is longer than MAX_BODY_BYTES",
    "414": "The URL is longer than 8,190 bytes",
    "422": "This Idempotency-Key came before with another body",
    "429": "More than RATE_LIMIT_PER_MINUTE requests; see Retry-After",
    "431": "The headers are too long, or too many",
    "500": "Unexpected",
    "502": "A peer answered what it should not",
    "503": "A peer or the database is unavailable now, or the service is too busy; see Retry-After",
}
_ERROR_EXAMPLES: dict[str, Any] = {
    "400": {"transfers": {"0": {"account": ["Missing data for required field."]}}},
    "401": "The token is not valid",
    "403": "The token lacks a scope of: ggo.read",
    "408": "The body took longer than 30 s to arrive",
    "413": "The body is longer than 1048576 bytes",
    "414": "The first line is too long",
    "429": "More than 600 requests in a minute",
    "500": "Internal Server Error",
    "502": "DataHubService answered what it should not",
    "503": "DataHubService is out of reach",
}
_REQUEST_ID = {"$ref": "#/components/headers/X-Request-ID"}


def prepare(api: flask_smorest.Api) -> None:
    """Register our own kinds of fields. Call it before any view is registered."""
    api.register_field(Time, "string", "date-time")
    api.register_field(GramsPerWh, "number", None)


@blueprint.get("/openapi.json")
@blueprint.response(200, description="The description", content_type="application/json")
def openapi() -> Response:
    """Describe the whole API, as OpenAPI 3.1."""
    made = current_app.extensions.get(_EXTENSION)
    if made is None:
        made = current_app.extensions[_EXTENSION] = orjson.dumps(document(current_app))
    return Response(made, mimetype="application/json")


def document(app: Flask) -> Json:
    """Return the OpenAPI document of this app."""
    api = app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
    found = copy.deepcopy(api.spec.to_dict())
    views = {_path(rule.rule): rule.endpoint for rule in app.url_map.iter_rules()}
    schemas = found["components"]["schemas"]
    for path, operations in found["paths"].items():
        view = app.view_functions[views[path]]
        for method in operations.keys() & set(_METHODS):
            _complete(operations[method], path, views[path], guard_of(view))
    _complete_schemas(found)
    for unused in ("Error", "PaginationMetadata"):
        schemas.pop(unused, None)
    schemas["Error"] = _error_schema()
    return {
        "openapi": found["openapi"],
        "info": {"title": "AccountService", "version": VERSION, "description": _DESCRIPTION},
        # Relative to the document's own URL, which keeps the path of PROJECT_URL.
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in _GROUPS.values() if text],
        "paths": dict(sorted(found["paths"].items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {code: _error(code) for code in _ERRORS},
            "headers": {"X-Request-ID": _request_id_header()},
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


_SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of Hydra's with the listed scopes",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "x-hub-signature",
        "description": "sha256=<base64(HMAC-SHA256(WEBHOOK_SECRET, body))>",
    },
}


def _path(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def _request_id_header() -> Json:
    return {
        "description": "The id of this request in the logs",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
    }


def _error_schema() -> Json:
    return {
        "type": "object",
        "properties": {
            "success": {"const": False, "description": "Not done"},
            "message": {
                "type": ["string", "object"],
                "description": "A sentence, or messages by field if the body does not fit its schema",
            },
        },
        "required": ["success", "message"],
        "additionalProperties": False,
    }


def _complete(operation: Json, path: str, endpoint: str, guard: Guard) -> None:
    """Add scopes, request ids and errors to an operation."""
    blueprint_name = endpoint.partition(".")[0]
    operation["operationId"] = re.sub(r"\W+", "_", path.strip("/"))
    operation["tags"] = [_GROUPS.get(blueprint_name, _GROUPS["operations"])[0]]
    operation["security"] = []
    if guard.scopes:
        operation["security"] = [{"token": sorted(guard.scopes)}]
        _describe(operation, f"Scope: {' and '.join(f'`{each}`' for each in guard.scopes)}.")
    elif guard.is_signed:
        operation["security"] = [{"signature": []}]
        _describe(operation, "The body must be signed.")
    # Those with a reference describe flask-smorest's own errors.
    own = {code: each for code, each in operation["responses"].items() if "$ref" not in each}
    for response in own.values():
        response.setdefault("headers", {})["X-Request-ID"] = _REQUEST_ID
    errors = {code: {"$ref": f"{_RESPONSES}{code}"} for code in _codes(operation, guard)}
    if any(each["in"] == "query" for each in operation.get("parameters", [])):
        errors["414"] = _error("414")
    operation["responses"] = dict(sorted({**errors, **own}.items()))


def _describe(operation: Json, text: str) -> None:
    operation["description"] = "\n\n".join(filter(None, (operation.get("description"), text)))


def _codes(operation: Json, guard: Guard) -> Iterator[str]:
    """Yield the error statuses that such a view may answer."""
    yield from ("431", "500")
    if operation["tags"] == [_GROUPS["operations"][0]]:
        return
    yield from ("400", "408", "413", "429", "502", "503")
    if guard.scopes:
        yield from ("401", "403")
    elif guard.is_signed:
        yield "401"
    if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", [])):
        yield from ("409", "422")


def _error(code: str) -> Json:
    example = {"success": False, "message": _ERROR_EXAMPLES.get(code, _ERRORS[code])}
    schema = {"$ref": f"{_SCHEMAS}Error"}
    return {
        "description": _ERRORS[code],
        "content": {"application/json": {"schema": schema, "example": example}},
        "headers": {"X-Request-ID": _REQUEST_ID},
    }


def _complete_schemas(found: Json) -> None:
    """Add optional and required fields, and examples, to the schemas of requests and responses."""
    schemas = found["components"]["schemas"]
    requests: set[str] = set()
    answers: set[str] = set()
    for operations in found["paths"].values():
        for method in operations.keys() & set(_METHODS):
            operation = operations[method]
            _gather(operation.get("requestBody", {}), schemas, requests)
            _gather(operation["responses"], schemas, answers)
    for name in requests:
        optional = schemas[name]["properties"].keys() - set(schemas[name].get("required", []))
        for field in optional:
            schemas[name]["properties"][field] = _nullable(schemas[name]["properties"][field])
    for name in answers - requests:
        always = schemas[name]["properties"].keys() - _NOT_IN_EVERY_RESPONSE
        schemas[name]["required"] = sorted(always)
    for name in requests | answers:
        schemas[name]["examples"] = [_example(schemas[name], schemas, name)]


def _gather(part: Any, schemas: Json, names: set[str]) -> None:
    """Add the names of all schemas that this part refers to, directly or through others."""
    if isinstance(part, list):
        for each in part:
            _gather(each, schemas, names)
    elif isinstance(part, dict):
        reference = part.get("$ref", "")
        name = reference.removeprefix(_SCHEMAS)
        if name != reference and name in schemas and name not in names and name != "Error":
            names.add(name)
            _gather(schemas[name], schemas, names)
        for each in part.values():
            _gather(each, schemas, names)


def _nullable(schema: Json) -> Json:
    """Return the schema with null allowed: for an optional field null means absent."""
    if "$ref" in schema:
        description = schema.pop("description", None)
        made: Json = {"anyOf": [schema, {"type": "null"}]}
        return {**made, "description": description} if description else made
    kind = schema.get("type")
    if isinstance(kind, str):
        return {**schema, "type": [kind, "null"]}
    if "enum" in schema and None not in schema["enum"]:
        return {**schema, "enum": [*schema["enum"], None]}
    return schema


def _example(schema: Json, schemas: Json, name: str = "") -> Any:
    """Return a value that fits the schema, made of the examples of its fields."""
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if "$ref" in schema:
        target = schema["$ref"].removeprefix(_SCHEMAS)
        return _example(schemas[target], schemas, target)
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas)
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "array":
        return [_example(schema.get("items", {}), schemas)]
    if kind == "object":
        fields = schema.get("properties", {})
        return {
            field: _example(each, schemas)
            for field, each in fields.items()
            if field not in _LEFT_OUT or field in schema.get("required", [])
        }
    return {"integer": 0, "number": 0.0, "boolean": True, "string": "…"}[kind]


_LEFT_OUT = frozenset({"cursor", "nextCursor", "timezone", "utcOffset", "atTime"})
"""Optional fields that examples leave out."""
_NOT_IN_EVERY_RESPONSE = frozenset({"nextCursor", "ledger", "recovery"})
"""Fields that only some responses have; all others are in each."""
_EXAMPLES: dict[str, Any] = {
    "GgoFilters": {
        "beginRange": {"begin": "2026-01-31T00:00:00+01:00", "end": "2026-01-31T23:00:00+01:00"},
        "category": "stored",
    },
    "TransferFilters": {"reference": ["contract 7"]},
    "GgoListRequest": {"filters": {"category": "stored"}, "offset": 0, "limit": 20},
    "DoneResponse": {"success": True, "message": None},
}
"""Examples, by the schema's name, where the examples of the fields do not go together."""
