"""Webhooks that users subscribe to (contract: http-api, Webhook subscriptions)."""

from typing import Any

from flask import Response

from origin.identity.authentication import current_subject, requires_token
from origin.web.blueprint import Blueprint
from origin.web.described import described, rejects
from origin.web.fields import Text
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.schema import Schema, SuccessResponse
from origin.webhooks.client.targets import MAX_URL_LENGTH
from origin.webhooks.rules.deliveries import Event
from origin.webhooks.rules.subscriptions import (
    SecretNotBase64,
    UrlAddressNotAllowed,
    UrlInvalid,
    UrlSchemeNotAllowed,
)
from origin.webhooks.service.subscriptions import Subscriptions

blueprint = Blueprint("subscriptions", __name__, url_prefix="/webhook")

MAX_SECRET_LENGTH = 1000


class Subscription(Schema):
    """Where an event is posted, and the secret it is signed with."""

    url = Text(
        max_length=MAX_URL_LENGTH,
        required=True,
        metadata=described(
            "Where deliveries are posted to: http or https",
            "https://app.example/hook",
            format="uri",
        ),
    )
    secret = Text(
        max_length=MAX_SECRET_LENGTH,
        max_bytes=4 * MAX_SECRET_LENGTH,
        required=True,
        metadata=described("What deliveries are signed with (HMAC-SHA256)", "a long random text"),
    )


_REJECTIONS = (UrlInvalid(), UrlSchemeNotAllowed(), UrlAddressNotAllowed(), SecretNotBase64())


class SubscriptionResponse(SuccessResponse):
    """Whether it is done."""


@blueprint.post("/on-ggo-received/subscribe")
@requires_token("openid")
@rejects(*_REJECTIONS)
@blueprint.arguments(Subscription)
@blueprint.response(200, SubscriptionResponse)
def subscribe_to_ggos(body: dict[str, Any]) -> Response:
    """Subscribe a URL to the GGOs that the caller receives.

    Again with the same URL, it replaces the secret. An account is not needed yet.
    """
    return _subscribe("ON_GGO_RECEIVED", body)


@blueprint.post("/on-ggo-received/unsubscribe")
@requires_token("openid")
@blueprint.arguments(Subscription)
@blueprint.response(200, SubscriptionResponse)
def unsubscribe_from_ggos(body: dict[str, Any]) -> Response:
    """End a subscription to received GGOs.

    URL and secret must be those of the subscription. `success` tells whether there was one.
    """
    return _unsubscribe("ON_GGO_RECEIVED", body)


@blueprint.post("/on-forecast-received/subscribe")
@requires_token("openid")
@rejects(*_REJECTIONS)
@blueprint.arguments(Subscription)
@blueprint.response(200, SubscriptionResponse)
def subscribe_to_forecasts(body: dict[str, Any]) -> Response:
    """Subscribe a URL to the forecasts that the caller receives.

    Again with the same URL, it replaces the secret. An account is not needed yet.
    """
    return _subscribe("ON_FORECAST_RECEIVED", body)


@blueprint.post("/on-forecast-received/unsubscribe")
@requires_token("openid")
@blueprint.arguments(Subscription)
@blueprint.response(200, SubscriptionResponse)
def unsubscribe_from_forecasts(body: dict[str, Any]) -> Response:
    """End a subscription to received forecasts.

    URL and secret must be those of the subscription. `success` tells whether there was one.
    """
    return _unsubscribe("ON_FORECAST_RECEIVED", body)


def _subscribe(event: Event, body: dict[str, Any]) -> Response:
    provided(Subscriptions).subscribe(current_subject(), event, body["url"], body["secret"])
    return json_response({"success": True})


def _unsubscribe(event: Event, body: dict[str, Any]) -> Response:
    done = provided(Subscriptions).unsubscribe(
        current_subject(), event, body["url"], body["secret"]
    )
    return json_response({"success": done})
