"""What this service posts to subscribers (contract: peers, Webhook receivers)."""

import json
from collections.abc import Mapping
from typing import Any

from origin.monitoring.views.description.schemas import example as schema_example
from origin.web.described import SUBJECT
from origin.webhooks.rules.signatures import signed_headers

Json = dict[str, Any]

_SECRET = "a long random text"  # noqa: S105 - the example of a subscription's secret
_ID = "0193e0c2-7b1f-7c55-9d0c-6d0a5c2b7f41"
_TIMESTAMP = 1769778000
_HEADERS = {
    "x-hub-signature": (
        "sha256=<base64(HMAC-SHA256(secret, body))>, over the bytes of the body. The secret is that "
        "of the subscription."
    ),
    "webhook-id": "The delivery's id, the same at every attempt",
    "webhook-timestamp": "When this attempt was signed, in Unix seconds",
    "webhook-signature": (
        "v1,<base64(HMAC-SHA256(key, `id.timestamp.body`))>, as standard-webhooks has it. The key is "
        "the secret in UTF-8, or what follows `whsec_`, base64-decoded."
    ),
}
_PATTERNS = {
    "x-hub-signature": "^sha256=[A-Za-z0-9+/]{43}=$",
    "webhook-id": "^.+$",
    "webhook-timestamp": "^[0-9]+$",
    "webhook-signature": "^v1,[A-Za-z0-9+/]{43}=$",
}
_RESPONSES: Json = {
    "2XX": {"description": "Received. The body of the response is not read."},
    "410": {"description": "Ends the subscription."},
    "default": {
        "description": (
            "Not received, as without an answer in 15 s: tried again every WEBHOOK_RETRY_DELAY "
            "seconds (60) for 24 hours. Redirects are not followed."
        )
    },
}


def _schema(name: str, part: str) -> Json:
    return {
        "type": "object",
        "description": f"The body of a webhook: the {name} that the user received.",
        "properties": {
            "sub": {"type": "string", **SUBJECT},
            name: {"$ref": f"#/components/schemas/{part}", "description": f"The {name}"},
        },
        "required": ["sub", name],
        "additionalProperties": False,
    }


SCHEMAS: Json = {
    "GgoReceived": _schema("ggo", "Ggo"),
    "ForecastReceived": _schema("forecast", "Forecast"),
}


def _parameters(example: Mapping[str, Any]) -> list[Json]:
    """Return the headers. The examples sign the example's compact JSON."""
    body = json.dumps(example, separators=(",", ":")).encode()
    signed = signed_headers(_SECRET, body, _ID, _TIMESTAMP)
    return [
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": text,
            "schema": {"type": "string", "pattern": _PATTERNS[name]},
            "example": signed[name],
        }
        for name, text in _HEADERS.items()
    ]


def _webhook(name: str, summary: str, description: str, schema: str, schemas: Json) -> Json:
    body = {"$ref": f"#/components/schemas/{schema}"}
    example = {**schema_example(body, schemas), "sub": "bo"}
    operation = {
        "operationId": name,
        "tags": ["Events to subscribers"],
        "summary": summary,
        "description": (
            f"{description}\n\nA delivery may come more than once: tell repeats by `webhook-id`. The "
            f"examples are signed with the secret `{_SECRET}`, over the body without spaces."
        ),
        "security": [],
        "parameters": _parameters(example),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "example": example}},
        },
        "responses": _RESPONSES,
    }
    return {"post": operation}


def described(schemas: Json) -> Json:
    """Return the webhooks by the names of their events.

    :param schemas: All schemas of the document, `SCHEMAS` included.
    """
    return {
        "ON_GGO_RECEIVED": _webhook(
            "onGgoReceived",
            "Tell that the user received a GGO",
            "A GGO was issued to the user, or came to the user by a compose that the ledger has "
            "committed. `/ggo` shows it by then.",
            "GgoReceived",
            schemas,
        ),
        "ON_FORECAST_RECEIVED": _webhook(
            "onForecastReceived",
            "Tell that the user received a forecast",
            "Somebody submitted a forecast for the user.",
            "ForecastReceived",
            schemas,
        ),
    }
