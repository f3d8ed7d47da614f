"""DataHub's endpoints for its clients (contract: peers, DataHubService)."""

import threading
import time
from dataclasses import dataclass, field
from functools import partial

from flask import Flask, Response, jsonify, request

from sandbox.datahub.control import add_control
from sandbox.datahub.issuing import EVENT_GGO, EVENT_POINT, Office
from sandbox.datahub.peers import IssuingBody, TokenCheck
from sandbox.datahub.store import Store
from sandbox.datahub.summary import summary_of
from sandbox.datahub.technologies import TECHNOLOGIES
from sandbox.datahub.webhooks import Dispatcher
from sandbox.datahub.wire import (
    ConsumedWanted,
    GgosWanted,
    MeasurementsWanted,
    SetKey,
    Subscription,
    SummaryWanted,
)
from sandbox.web import RefusalError, body_of, done, new_app

PAGE_LIMIT = 1000
"""Most measurements in a page, whatever limit the request has."""


@dataclass
class Settings:
    """Settings that control calls can change."""

    page_limit: int = PAGE_LIMIT
    row_seconds: float = 0
    _worker: threading.Lock = field(default_factory=threading.Lock)

    def derive(self, rows: int) -> None:
        """Sleep as long as deriving the keys of `rows` rows takes; concurrent calls queue up."""
        if self.row_seconds:
            with self._worker:
                time.sleep(rows * self.row_seconds)


def create_app(
    tokens: TokenCheck,
    ledger: IssuingBody | None = None,
    *,
    retry_interval: float = 60,
    row_seconds: float = 0,
) -> Flask:
    """Return the DataHub application with its control calls.

    `tokens` checks access tokens; `ledger` issues on the ledger (None: nothing is issued there);
    `retry_interval` is the time (s) between two attempts of a webhook; `row_seconds` is the time
    spent on each row of measurements or GGOs (the real DataHub: 0.0027).
    """
    store, dispatcher = Store(), Dispatcher(retry_interval)
    settings = Settings(row_seconds=row_seconds)

    def reset() -> None:
        store.reset()
        dispatcher.reset()
        settings.page_limit, settings.row_seconds = PAGE_LIMIT, row_seconds

    app = new_app("datahub", reset=reset)
    add_control(app, store, dispatcher, Office(store, dispatcher, ledger), settings)
    _add_points(app, store, tokens)
    _add_measurements(app, store, tokens, settings)
    _add_subscriptions(app, store, tokens)
    return app


def _caller(tokens: TokenCheck) -> str:
    """Return the subject of the request's access token; RefusalError 401 unless it is active."""
    given = request.authorization
    if given is None or given.type != "bearer" or not given.token:
        raise RefusalError(401, "No token")
    subject = tokens.subject(given.token)
    if subject is None:
        raise RefusalError(401, "The token is not active")
    return subject


def _add_points(app: Flask, store: Store, tokens: TokenCheck) -> None:
    @app.post("/meteringpoints")
    def meteringpoints() -> Response:
        points = store.points_of(_caller(tokens))
        return done(meteringpoints=[point.as_json() for point in points])

    @app.post("/meteringpoints/set-key")
    def set_key() -> Response:
        sub, wish = _caller(tokens), body_of(SetKey)
        store.set_key(wish.gsrn, sub, wish.key)
        return done()

    @app.post("/technologies")
    def technologies() -> Response:
        return done(technologies=TECHNOLOGIES)


def _add_measurements(app: Flask, store: Store, tokens: TokenCheck, settings: Settings) -> None:
    @app.post("/measurements")
    def measurements() -> Response:
        sub, wish = _caller(tokens), body_of(MeasurementsWanted)
        found = store.rows_of(sub, wish.filters)
        size = min(wish.limit or settings.page_limit, settings.page_limit)
        page = found[wish.offset : wish.offset + size]
        settings.derive(len(page))
        shown = [store.shown(gsrn, row).as_json() for gsrn, row in page]
        return done(total=len(found), measurements=shown)

    @app.post("/measurements/summary")
    def summary() -> Response:
        sub, wish = _caller(tokens), body_of(SummaryWanted)
        labels, groups = summary_of(store.rows_of(sub, wish.filters), wish)
        return done(labels=labels, groups=groups)

    @app.post("/measurements/consumed")
    def consumed() -> Response:
        sub, wish = _caller(tokens), body_of(ConsumedWanted)
        point = store.point(wish.gsrn, sub)
        found = store.measurement(wish.gsrn, wish.begin)
        if found is None or point.shown.type != "consumption":
            return jsonify({"success": False, "measurement": None})
        settings.derive(1)
        return done(measurement=found.as_json())

    @app.post("/ggo")
    def ggo() -> Response:
        sub, wish = _caller(tokens), body_of(GgosWanted)
        store.point(wish.gsrn, sub)
        found = store.ggos_of(wish.gsrn, wish.beginRange)
        settings.derive(len(found))
        return done(ggos=[one.as_json() for one in found])


def _add_subscriptions(app: Flask, store: Store, tokens: TokenCheck) -> None:
    def subscribe(event: str) -> Response:
        sub, wish = _caller(tokens), body_of(Subscription)
        store.subscribe(sub, event, wish.url, wish.secret)
        return done()

    def unsubscribe(event: str) -> Response:
        sub, wish = _caller(tokens), body_of(Subscription)
        return jsonify({"success": store.unsubscribe(sub, event, wish.url, wish.secret)})

    for event in (EVENT_POINT, EVENT_GGO):
        for call in (subscribe, unsubscribe):
            app.add_url_rule(
                f"/webhook/{event}/{call.__name__}",
                f"{call.__name__} {event}",
                partial(call, event),
                methods=["POST"],
            )
