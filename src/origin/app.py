"""The Flask application."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flask_smorest
from click import Command, Context, get_current_context
from flask import Flask, Response, request
from flask.cli import AppGroup
from flask_cors import CORS

from origin.accounts.views import accounts, login, suppliers
from origin.compose import views as compose
from origin.declarations import views as declarations
from origin.errors import ConfigurationError
from origin.forecasts import views as forecasts
from origin.ggos.views import ggos, transfers
from origin.intake import views as intake
from origin.monitoring.views import docs, health, metrics, openapi
from origin.runtime import build_runtime
from origin.settings import Settings, load_settings
from origin.tasks.sending import WakeupSender
from origin.tasks.wakeups import CeleryWakeups
from origin.telemetry.logs import configure_logging
from origin.telemetry.requests import watch_requests
from origin.telemetry.tasks import watch_sending
from origin.web.base import Blueprint
from origin.web.errors import register_error_handlers
from origin.web.provided import provide
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


def _allow_origins(app: Flask, origins: Sequence[str]) -> None:
    """Tell browsers which sites may ask (CORS).

    Who isn't a browser says nothing of an origin, and needs no answer to it: but where any may ask.
    """
    # As patterns of our own: of a string, the library takes some characters for a pattern's.
    CORS(app, origins=[_exactly(origin) for origin in origins])
    answer = app.after_request_funcs[None].pop()
    for_all = "*" in origins

    def answer_browsers(response: Response) -> Any:
        return answer(response) if for_all or "HTTP_ORIGIN" in request.environ else response

    app.after_request(answer_browsers)


def _exactly(origin: str) -> re.Pattern[str] | str:
    return origin if origin == "*" else re.compile(f"^{re.escape(origin)}$")


class _Commands(AppGroup):
    """The operators' commands, loaded when one is wanted: a web needs none, nor the memory of what they use."""

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self._app = app
        self._are_loaded = False

    def list_commands(self, ctx: Context) -> list[str]:
        """Their names."""
        self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The one of this name."""
        self._load()
        return super().get_command(ctx, cmd_name)

    def _load(self) -> None:
        if not self._are_loaded:
            from origin.cli.commands import register_commands

            self._are_loaded = True
            register_commands(self._app)


class _Flask(Flask):
    """Flask, but for what it asks of every view and hook at every request: whether it is a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """None of ours is."""
        return func


def _settings() -> Settings:
    """The environment's.

    :raises SystemExit: it is wrong, and a command has asked: one line tells, and no traceback.
    :raises ConfigurationError: it is wrong.
    """
    try:
        return load_settings(Settings)
    except ConfigurationError as error:
        if get_current_context(silent=True) is not None:
            sys.exit(str(error))
        raise


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application; connects to nothing.

    :param settings: Read from the environment if not given.
    :raises ConfigurationError: where the environment is wrong.
    """
    settings = settings or _settings()
    configure_logging(settings)
    app = _Flask(__name__, static_folder=None)
    app.config.update(
        _OPENAPI, MAX_CONTENT_LENGTH=settings.max_body_bytes + 1, DEBUG=settings.debug
    )
    runtime = build_runtime(settings, CeleryWakeups(WakeupSender(settings)))
    provide(app, vars(runtime).values())
    watch_requests(app)
    watch_sending()
    _allow_origins(app, settings.cors_origins)
    api = flask_smorest.Api(app)
    openapi.prepare(api)
    for blueprint in (*_BLUEPRINTS, *_operations(settings)):
        api.register_blueprint(blueprint)
    if settings.docs_enabled:
        app.register_blueprint(docs.assets)
    # After the API, whose own handlers these replace.
    register_error_handlers(app)
    app.cli = _Commands(app)
    return app
