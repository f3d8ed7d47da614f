"""Shared by all servers of the sandbox: JSON errors, and the common control calls."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, TypeAdapter, ValidationError
from werkzeug.exceptions import BadRequest, HTTPException

from sandbox.faults import ErrorBody, Fault, FaultMiddleware, Faults, status_phrase

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class RefusalError(Exception):
    """A call is answered with this HTTP status and this message for the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def plain_error(status: int, _code: int | None) -> tuple[int, Any]:
    """Return status and JSON of an error, for servers without an error format of their own."""
    status = status or HTTPStatus.INTERNAL_SERVER_ERROR
    return status, {"success": False, "message": status_phrase(status)}


def new_app(name: str, *, error_body: ErrorBody = plain_error, reset: Callable[[], None]) -> Flask:
    """Return a Flask application with faults, JSON errors and these control calls.

    - `GET /control/health`: the server's name.
    - `GET /control/calls`: counts and the latest calls; `DELETE` clears them.
    - `GET|POST|DELETE /control/faults`: list, add (one or a list), clear.
    - `POST /control/reset`: back to the state at start; `reset` clears the server's own data.
    """
    app = Flask(f"sandbox.{name}", static_folder=None)
    faults = Faults(error_body)
    app.wsgi_app = FaultMiddleware(  # type: ignore[method-assign] # Flask's own way to wrap an app
        app.wsgi_app, faults, app.url_map
    )
    _answer_errors_with_json(app)
    _add_fault_control(app, faults)

    @app.get("/control/health")
    def health() -> Response:
        return jsonify({"success": True, "server": name})

    @app.post("/control/reset")
    def start_anew() -> Response:
        faults.clear()
        reset()
        faults.forget_calls()
        return done()

    return app


def _add_fault_control(app: Flask, faults: Faults) -> None:
    @app.get("/control/calls")
    def calls() -> Response:
        return jsonify(faults.calls())

    @app.delete("/control/calls")
    def forget_calls() -> Response:
        faults.forget_calls()
        return done()

    @app.get("/control/faults")
    def list_faults() -> Response:
        return jsonify({"faults": faults.listing()})

    @app.post("/control/faults")
    def add_faults() -> Response:
        for fault in body_list(Fault):
            faults.add(fault)
        return done()

    @app.delete("/control/faults")
    def clear_faults() -> Response:
        faults.clear()
        return done()


def _answer_errors_with_json(app: Flask) -> None:
    @app.errorhandler(RefusalError)
    def refused(error: RefusalError) -> tuple[Response, int]:
        return jsonify({"success": False, "message": error.message}), error.status

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
        return jsonify({"success": False, "message": error.description}), status

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        app.logger.error("unexpected error", exc_info=error)
        message = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
        return jsonify({"success": False, "message": message}), 500


def done(**more: Any) -> Response:
    """Return `{"success": true, …}`."""
    return jsonify({"success": True, **more})


def body_of(model: type[M]) -> M:
    """Return the request's JSON body as a model; RefusalError 400 says what is wrong with it."""
    return _validated(TypeAdapter(model), _json_body())


def body_list(model: type[M]) -> list[M]:
    """Return the request's JSON body, one object or a list of them, as a list of models."""
    raw = _json_body()
    return _validated(TypeAdapter(list[model]), raw if isinstance(raw, list) else [raw])  # type: ignore[valid-type] # known at run time


def _json_body() -> Any:
    try:
        return request.get_json(force=True)
    except BadRequest as error:
        raise RefusalError(400, "Bad JSON body provided") from error


def _validated(adapter: TypeAdapter[T], raw: Any) -> T:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        raise RefusalError(400, explain(error)) from error


def explain(error: ValidationError) -> str:
    """Return the validation errors in one line, without the values that were sent."""
    return "; ".join(
        f"{'.'.join(str(part) for part in issue['loc']) or 'body'}: {issue['msg']}"
        for issue in error.errors(include_url=False, include_input=False)
    )


def wait_seconds() -> float:
    """Return the query's `wait`: seconds to wait for the result, at most 60; default 0."""
    try:
        return min(max(float(request.args.get("wait", "0")), 0), 60)
    except ValueError as error:
        raise RefusalError(400, "wait: not a number") from error


def wanted_count() -> int:
    """Return the query's `count`: how many items to wait for; default 0."""
    try:
        return int(request.args.get("count", "0"))
    except ValueError as error:
        raise RefusalError(400, "count: not a number") from error
