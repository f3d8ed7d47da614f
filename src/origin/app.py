"""The Flask application."""

import re
from collections.abc import Iterator
from typing import Any

import flask_smorest
from flask import Flask
from flask_cors import CORS

from origin.api import (
    accounts,
    declarations,
    docs,
    forecasts,
    ggos,
    health,
    login,
    metrics,
    openapi,
    subscriptions,
    suppliers,
    transfers,
    webhooks_in,
)
from origin.api.base import EXTENSION, Blueprint
from origin.api.errors import register_error_handlers
from origin.cli import register_commands
from origin.runtime import build_runtime
from origin.settings import Settings, load_settings
from origin.tasks.hints import CeleryHints
from origin.telemetry.logs import configure_logging
from origin.telemetry.requests import watch_requests
from origin.telemetry.tasks import watch_sending

_BLUEPRINTS = (
    login.blueprint,
    accounts.blueprint,
    suppliers.blueprint,
    ggos.blueprint,
    transfers.blueprint,
    declarations.blueprint,
    webhooks_in.blueprint,
    subscriptions.blueprint,
    forecasts.blueprint,
)

_OPENAPI: dict[str, Any] = {
    "API_TITLE": "AccountService",
    "API_VERSION": "1",
    "OPENAPI_VERSION": "3.1.0",
}


def _operations(settings: Settings) -> Iterator[Blueprint]:
    """What operators ask, but for what the settings bind off (contract: http-api, Operations)."""
    if settings.health_enabled:
        yield health.blueprint
    if settings.metrics_enabled:
        yield metrics.blueprint
    if settings.openapi_enabled:
        yield openapi.blueprint
    if settings.docs_enabled and settings.openapi_enabled:
        yield docs.blueprint


def _exactly(origin: str) -> re.Pattern[str] | str:
    return origin if origin == "*" else re.compile(f"^{re.escape(origin)}$")


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application; connects to nothing.

    :param settings: Read from the environment if not given.
    :raises ConfigurationError: where the environment is wrong.
    """
    settings = settings or load_settings(Settings)
    configure_logging(settings)
    app = Flask(__name__, static_folder=None)
    app.config.update(
        _OPENAPI, MAX_CONTENT_LENGTH=settings.max_body_bytes + 1, DEBUG=settings.debug
    )
    app.extensions[EXTENSION] = build_runtime(settings, CeleryHints(settings))
    watch_requests(app)
    watch_sending()
    # As patterns of our own: of a string, the library takes some characters for a pattern's.
    CORS(app, origins=[_exactly(origin) for origin in settings.cors_origins])
    api = flask_smorest.Api(app)
    openapi.prepare(api)
    for blueprint in (*_BLUEPRINTS, *_operations(settings)):
        api.register_blueprint(blueprint)
    if settings.docs_enabled:
        app.register_blueprint(docs.assets)
    # After the API, whose own handlers these replace.
    register_error_handlers(app)
    register_commands(app)
    return app
