"""The Flask application."""

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import flask_smorest
from click import get_current_context
from flask import Flask, Response, request
from flask_cors import cross_origin

from origin.accounts.views import accounts, login, suppliers
from origin.balances.views import balances, statements
from origin.bulk.views import lines as bulk_lines
from origin.bulk.views import orders as bulk_orders
from origin.cli.commands import OnlyDoctor, register_commands
from origin.compose import views as compose
from origin.declarations import views as declarations
from origin.doctor.service.environment import with_stand_ins, with_wrong_settings
from origin.errors import ConfigurationError
from origin.forecasts import views as forecasts
from origin.ggos.views import by_address, ggos, transfers
from origin.intake import views as intake
from origin.monitoring.views import description, docs, health, metrics, openapi
from origin.operations import views as operations
from origin.runtime import build_runtime
from origin.settings import Settings, environment, load_settings
from origin.shared.release import VERSION
from origin.tasks.celery import TASKS
from origin.tasks.sending import WakeupSender
from origin.tasks.wakeups import CeleryWakeups
from origin.telemetry.context import REQUEST_ID_HEADER
from origin.telemetry.logs import configure_logging
from origin.telemetry.requests import watch_requests
from origin.telemetry.tasks import watch_sending
from origin.web.blueprint import Blueprint
from origin.web.error_handlers import register_error_handlers
from origin.web.provided import provide
from origin.web.v2.problems import is_v2
from origin.webhooks import views as webhooks

_BLUEPRINTS = (
    login.blueprint,
    accounts.blueprint,
    suppliers.blueprint,
    ggos.blueprint,
    compose.blueprint,
    transfers.blueprint,
    declarations.blueprint,
    intake.blueprint,
    webhooks.blueprint,
    forecasts.blueprint,
    operations.blueprint,
    bulk_orders.blueprint,
    bulk_lines.blueprint,
    by_address.blueprint,
    balances.blueprint,
    statements.blueprint,
)

_OPENAPI: dict[str, Any] = {
    "API_TITLE": "AccountService",
    "API_VERSION": VERSION,
    "OPENAPI_VERSION": "3.1.0",
}


_HEADERS_FOR_BROWSERS = (
    "Allow",
    "Content-Disposition",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    REQUEST_ID_HEADER,
)
"""Response headers of version 2 that scripts of other sites may read, besides those that browsers always
show them. The old API names none, and its headers stay as they are."""


def _operations(settings: Settings) -> Iterator[Blueprint]:
    """Yield the operators' blueprints that the settings enable (contract: http-api, Operations)."""
    if settings.health_enabled:
        yield health.blueprint
    if settings.metrics_enabled:
        yield metrics.blueprint
    if settings.openapi_enabled:
        yield openapi.blueprint
    if settings.docs_enabled and settings.openapi_enabled:
        yield docs.blueprint


def _origin_pattern(origin: str) -> re.Pattern[str] | str:
    """Return a CORS origin as a pattern that matches it alone; `*` matches every origin.

    Given a string with special characters, flask-cors would take it for a pattern itself.
    """
    return origin if origin == "*" else re.compile(f"^{re.escape(origin)}$")


def _allow_origins(app: Flask, origins: Sequence[str]) -> None:
    """Tell browsers which sites may call (CORS, by flask-cors).

    Other clients send no Origin, and skip it: it takes a twentieth of `/accounts`' time in Flask.
    """
    allowed = [_origin_pattern(origin) for origin in origins]

    @cross_origin(origins=allowed, automatic_options=False)
    def with_headers(response: Response) -> Response:
        return response

    @cross_origin(origins=allowed, expose_headers=_HEADERS_FOR_BROWSERS, automatic_options=False)
    def with_headers_of_v2(response: Response) -> Response:
        return response

    @app.after_request
    def answer_browsers(response: Response) -> Response:
        # Where every origin may call, flask-cors tells all clients so.
        if "Origin" not in request.headers and "*" not in origins:
            return response
        return with_headers_of_v2(response) if is_v2() else with_headers(response)


def _is_command() -> bool:
    """Whether a `flask` command runs."""
    return get_current_context(silent=True) is not None


def _without_settings(reason: str) -> Flask:
    """Return an app that has nothing but `flask doctor`.

    :param reason: Why the settings are wrong.
    :raises SystemExit: another command runs. It ends with the reason in one line, without a traceback.
    """
    # Flask calls this first to look the command up, in a context without a parent. A call with a parent
    # comes from within a command, which needs the real app.
    if get_current_context().parent is not None:
        sys.exit(reason)
    settings, wrong = with_stand_ins(environment())
    runtime = build_runtime(settings, CeleryWakeups(WakeupSender(settings)))
    app = Flask(__name__, static_folder=None)
    app.cli = OnlyDoctor(reason)
    provide(app, [with_wrong_settings(runtime.doctor, reason, wrong)])
    return app


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application without connecting to anything.

    :param settings: Read from the environment if None.
    :raises ConfigurationError: The environment is wrong.
    """
    try:
        settings = settings or load_settings(Settings)
    except ConfigurationError as error:
        if _is_command():
            return _without_settings(str(error))
        raise
    # Programs read what a command prints, as `flask adopt --json`: no log line may come between.
    configure_logging(settings, to_stderr=_is_command())
    app = Flask(__name__, static_folder=None)
    app.config.update(
        _OPENAPI, MAX_CONTENT_LENGTH=settings.max_body_bytes + 1, DEBUG=settings.debug
    )
    runtime = build_runtime(settings, CeleryWakeups(WakeupSender(settings)))
    provide(app, vars(runtime).values())
    watch_requests(app)
    watch_sending(TASKS)
    _allow_origins(app, settings.cors_origins)
    api = flask_smorest.Api(app)
    description.prepare(api)
    for blueprint in (*_BLUEPRINTS, *_operations(settings)):
        api.register_blueprint(blueprint)
    if settings.docs_enabled:
        app.register_blueprint(docs.assets)
    # After `Api`, whose own handlers these replace.
    register_error_handlers(app)
    register_commands(app)
    return app
