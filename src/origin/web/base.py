"""What all views share: reading a JSON body by a schema, and answering in JSON."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any, NoReturn, cast

import orjson
from flask import Response, g, request
from flask.wrappers import Request
from flask_smorest import Blueprint as SmorestBlueprint
from flask_smorest.utils import resolve_schema_instance
from gevent import Timeout
from gevent.monkey import is_module_patched
from marshmallow import Schema as MarshmallowSchema
from marshmallow import ValidationError, pre_load
from webargs.flaskparser import FlaskParser

from origin.errors import (
    BodyMissing,
    BodyNotJson,
    BodyTooLarge,
    BodyTooSlow,
    PlaceNeeded,
    SchemaViolated,
)
from origin.settings import Settings
from origin.shared.json_reading import read_json
from origin.web.provided import provided

MAX_UNKNOWN = 20
"""Unknown fields of one object that a refusal names."""


def raw_body() -> bytes:
    """The request's body as it came.

    :raises BodyTooSlow: It took longer than BODY_TIME_LIMIT to arrive.
    :raises PlaceNeeded: Another connection needs this one's place before the body is whole.
    :raises BodyTooLarge: It is longer than MAX_BODY_BYTES. The framework reads a chunked body up to
        its own limit, which is one byte more, and raises nothing.
    """
    known: bytes | None = g.get("raw_body")
    if known is not None:
        return known
    settings = provided(Settings)
    with _in_time(settings.body_time_limit):
        raw = request.get_data()
    if len(raw) > settings.max_body_bytes:
        raise BodyTooLarge(settings.max_body_bytes)
    g.raw_body = raw
    return raw


@contextmanager
def _in_time(limit_s: float) -> Iterator[None]:
    """Let a client that sends slowly, or not at all, hold a place for so long and no longer."""
    if not is_module_patched("socket"):
        # Without greenlets, in development and tests, there is nobody to wake this one.
        yield
        return
    # Under gunicorn (`origin.web.gunicorn.bodies`), when others need the place, it may come early.
    waiting = getattr(request.environ["wsgi.input"], "waiting", nullcontext)
    with Timeout(limit_s) as limit:
        try:
            with waiting(limit):
                yield
        except Timeout as over:
            if over is not limit:
                raise
            raise (PlaceNeeded() if limit.pending else BodyTooSlow(limit_s)) from over


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """Answer this object; aware times become ISO 8601."""
    try:
        raw = orjson.dumps(body)
    except orjson.JSONEncodeError:
        # A sum may be beyond 64 bits, which is the end of orjson's whole numbers.
        raw = json.dumps(body).encode()
    return Response(raw, status, mimetype="application/json")


class Schema(MarshmallowSchema):
    """A request or answer. Unknown fields are refused; null means absent where that is allowed."""

    @pre_load
    def _prepare(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return self._null_means_absent(self._with_few_unknown(data))

    def _with_few_unknown(self, data: dict[str, Any]) -> dict[str, Any]:
        """Some of the unknown fields tell enough: a body may have a hundred thousand."""
        if len(data) <= len(self.load_fields) + MAX_UNKNOWN:
            return data
        known = {field.data_key or name for name, field in self.load_fields.items()}
        unknown = islice((name for name in data if name not in known), MAX_UNKNOWN)
        return {name: data[name] for name in (*filter(data.__contains__, known), *unknown)}

    def _null_means_absent(self, data: dict[str, Any]) -> dict[str, Any]:
        if None not in data.values():
            return data
        optional = {
            field.data_key or name for name, field in self.load_fields.items() if not field.required
        }
        return {
            name: value for name, value in data.items() if value is not None or name not in optional
        }


class _JsonBodyParser(FlaskParser):
    """Reads a body as JSON whatever its Content-Type says, and words errors as the contract does."""

    def load_json(self, req: Request, schema: MarshmallowSchema) -> Any:
        """The body, parsed, for the schema to check.

        :raises BodyMissing: There is none.
        :raises BodyNotJson: It is not JSON.
        """
        del req, schema
        raw = raw_body()
        if not raw.strip():
            raise BodyMissing
        try:
            return read_json(raw)
        except ValueError:
            raise BodyNotJson from None

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: MarshmallowSchema,
        *,
        error_status_code: int | None,
        error_headers: Any,
    ) -> NoReturn:
        """Raise what does not fit the schema, by wire names."""
        del req, schema, error_status_code, error_headers
        raise SchemaViolated(cast("dict[str, Any]", error.messages)["json"]) from error


class Blueprint(SmorestBlueprint):
    """A group of views; `@arguments(Schema)` reads the body by our parser."""

    ARGUMENTS_PARSER = _JsonBodyParser()

    def arguments(self, schema: Any, **named: Any) -> Any:
        """Read a request's body by this schema, which is made once: that takes longer than reading."""
        return super().arguments(resolve_schema_instance(schema), **named)
