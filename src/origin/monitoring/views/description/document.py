"""The whole document: general information, and the parts that the other modules describe."""

import copy
import json
import re
from typing import Any

import flask_smorest
from flask import Flask

from origin.identity.authentication import guard_of
from origin.intake.views import GramsPerWh
from origin.monitoring.views.description import (
    errors,
    operations,
    problems,
    schemas,
    security,
    webhooks,
)
from origin.settings import Settings
from origin.web.described import rejections_of
from origin.web.fields import Time
from origin.web.provided import provided_by
from origin.web.v2.schema import CommaList

Json = dict[str, Any]

_DESCRIPTION = """\
Accounts of granular guarantees of origin (GGOs). Each GGO stands for an amount of electricity, in Wh,
that one meter measured in one period, mostly an hour.

* Energy is in **Wh**, whole numbers. Emissions of a GGO are in grams per Wh.
* Times are **ISO 8601**; without an offset they are in the request's `utcOffset`, else in UTC.
* `null` for an optional field means that it is absent. An unknown field is an error.
* Every answer has an `X-Request-ID`: the request's own if it sent a valid one, else a new one.
* Errors have one shape: `{"success": false, "message": …}`. The message is a sentence, or an object
  of messages by field if the body does not fit its schema. `400` is final; after `5xx` and `429` try
  again, not before the seconds of `Retry-After` if there is one.
* A token is an access token of Hydra's. Its user needs an account here, which the first login at
  `/auth/login` creates.
* The examples use the demo's users `anna` and `bo` and their metering points. Only the addresses of
  GGOs differ in each run: take one of your own from `/ggo`.
"""


def prepare(api: flask_smorest.Api) -> None:
    """Register our own kinds of fields. Call it before any view is registered."""
    api.register_field(Time, "string", "date-time")
    api.register_field(GramsPerWh, "number", None)
    # In the old API no query has a list.
    api.ma_plugin.converter.add_parameter_attribute_function(_comma_list)


def _comma_list(_converter: Any, field: Any, **_: Any) -> Json:
    """Return how a list stands in a query: with commas between its values."""
    return {"explode": False} if isinstance(field, CommaList) else {}


def document(app: Flask) -> Json:
    """Return the OpenAPI document of this app."""
    settings = provided_by(app, Settings)
    api = app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
    found = copy.deepcopy(api.spec.to_dict())
    parts = found["components"]["schemas"]
    parts.update(webhooks.SCHEMAS)
    _give_path_parameters(found["paths"])
    schemas.complete(found)
    endpoints = {
        (_path(rule.rule), method): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            endpoint = endpoints[path, method.upper()]
            view = app.view_functions[endpoint]
            described = operations.View(
                path, endpoint.partition(".")[0], view.__name__, guard_of(view), rejections_of(view)
            )
            operations.complete(operation, described, parts)
    # Those of flask-smorest.
    for unused in ("Error", "PaginationMetadata"):
        parts.pop(unused, None)
    parts.update(errors.SCHEMAS)
    responses = {**errors.RESPONSES}
    if any(map(operations.is_v2, found["paths"])):
        parts.update(problems.SCHEMAS)
        text = json.dumps(found["paths"])
        own = problems.RESPONSES.items()
        responses |= {name: each for name, each in own if f'/responses/{name}"' in text}
    return {
        "openapi": found["openapi"],
        "info": _info(found["info"], settings),
        # Relative to the document's own URL, which keeps the path of PROJECT_URL.
        "servers": [{"url": ".", "description": "The service that this document comes from"}],
        "tags": operations.tags(found["paths"]),
        "paths": dict(sorted(found["paths"].items())),
        "webhooks": webhooks.described(parts),
        "components": {
            "schemas": dict(sorted(parts.items())),
            "responses": responses,
            "headers": errors.HEADERS,
            "securitySchemes": security.schemes(settings.hydra_url),
        },
    }


def _give_path_parameters(paths: Json) -> None:
    """Move the parameters of each path to its operations, where all other parameters are."""
    for methods in paths.values():
        shared = methods.pop("parameters", [])
        for operation in methods.values() if shared else ():
            operation["parameters"] = [*shared, *operation.get("parameters", [])]


def _info(found: Json, settings: Settings) -> Json:
    return {
        "title": found["title"],
        "version": found["version"],
        "summary": "Accounts of granular guarantees of origin",
        "description": _DESCRIPTION,
        "contact": {"name": f"Operator of {settings.service_name}", "url": settings.project_url},
        "license": {
            "name": "Apache License 2.0",
            "url": "https://www.apache.org/licenses/LICENSE-2.0",
        },
    }


def _path(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
