"""DataHub's control calls: acts of the issuing body, and the state of webhooks."""

from typing import Any, Protocol

from flask import Flask, Response, jsonify, request
from pydantic import Field

from sandbox.datahub.issuing import Ggos, Measurements, Office, Points, Series
from sandbox.datahub.store import Store
from sandbox.datahub.webhooks import Dispatcher, Order, Signing
from sandbox.datahub.wire import Body
from sandbox.web import RefusalError, body_of, done, wait_seconds, wanted_count


class _Settings(Protocol):
    page_limit: int
    row_seconds: float


class Changes(Body):
    """Settings to change; those left out stay as they are."""

    page_limit: int | None = Field(default=None, ge=1)
    row_seconds: float | None = Field(default=None, ge=0)
    retry_interval: float | None = Field(default=None, ge=0)
    signing: Signing | None = None


class Release(Body):
    """The order in which held webhooks are sent."""

    order: Order = Order.ARRIVAL


class Repeat(Body):
    """The finished deliveries to send once more; no ids: all."""

    ids: list[str] = Field(default_factory=list)


class FreeWebhook(Body):
    """A webhook with any body: to the user's subscribers, or to a URL with a secret."""

    event: str
    sub: str
    body: Any
    url: str | None = None
    secret: str | None = None


def add_control(
    app: Flask, store: Store, dispatcher: Dispatcher, office: Office, settings: _Settings
) -> None:
    """Add DataHub's control calls to its application."""
    _add_office(app, office)
    _add_deliveries(app, store, dispatcher)

    @app.get("/control/keys")
    def keys() -> Response:
        gsrns = [one for one in request.args.get("gsrn", "").split(",") if one]
        with store.changed:
            complete = store.changed.wait_for(lambda: store.have_keys(gsrns), wait_seconds())
        return done(keys=store.keys(), complete=complete)

    @app.get("/control/subscriptions")
    def subscriptions() -> Response:
        count = wanted_count()
        with store.changed:
            store.changed.wait_for(lambda: len(store.subscriptions()) >= count, wait_seconds())
        return done(subscriptions=store.subscriptions())

    @app.post("/control/settings")
    def change_settings() -> Response:
        wish = body_of(Changes)
        settings.page_limit = wish.page_limit or settings.page_limit
        if wish.row_seconds is not None:
            settings.row_seconds = wish.row_seconds
        if wish.retry_interval is not None:
            dispatcher.retry_interval = wish.retry_interval
        dispatcher.signing = wish.signing or dispatcher.signing
        return jsonify(
            {
                "page_limit": settings.page_limit,
                "row_seconds": settings.row_seconds,
                "retry_interval": dispatcher.retry_interval,
                "signing": dispatcher.signing.value,
            }
        )


def _add_office(app: Flask, office: Office) -> None:
    @app.post("/control/meteringpoints")
    def register() -> Response:
        office.register(body_of(Points))
        return done()

    @app.post("/control/measurements")
    def publish() -> Response:
        made = office.publish(body_of(Measurements))
        return done(measurements=[one.as_json() for one in made])

    @app.post("/control/series")
    def publish_series() -> Response:
        office.publish_series(body_of(Series))
        return done()

    @app.post("/control/ggos")
    def issue() -> Response:
        made = office.issue(body_of(Ggos))
        return done(ggos=[one.as_json() for one in made])


def _add_deliveries(app: Flask, store: Store, dispatcher: Dispatcher) -> None:
    @app.get("/control/deliveries")
    def deliveries() -> Response:
        idle = dispatcher.wait_until_idle(wait_seconds())
        return done(deliveries=dispatcher.listing(), idle=idle)

    @app.post("/control/deliveries/release")
    def release() -> Response:
        return done(deliveries=dispatcher.release(body_of(Release).order))

    @app.post("/control/deliveries/retry")
    def retry() -> Response:
        return done(deliveries=dispatcher.retry_now())

    @app.post("/control/deliveries/repeat")
    def repeat() -> Response:
        return done(deliveries=dispatcher.repeat(body_of(Repeat).ids))

    @app.post("/control/webhooks")
    def free_webhook() -> Response:
        wish = body_of(FreeWebhook)
        targets = store.subscribers(wish.sub, wish.event)
        if wish.url is not None:
            secrets = (secret for _, secret in targets)
            targets = [(wish.url, wish.secret or next(secrets, ""))]
        if not targets:
            raise RefusalError(409, f"{wish.sub} has no subscription to {wish.event}")
        ids = [
            dispatcher.send(wish.event, wish.sub, url, secret, wish.body, hold=False)
            for url, secret in targets
        ]
        return done(deliveries=ids)
