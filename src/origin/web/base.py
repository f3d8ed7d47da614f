"""What all views share: reading a JSON body by a schema, and answering in JSON."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any, NoReturn, cast

from flask import Response, g, request
from flask.wrappers import Request
from flask_smorest import Blueprint as SmorestBlueprint
from flask_smorest.utils import resolve_schema_instance
from gevent import Timeout
from gevent.monkey import is_module_patched
from marshmallow import Schema as MarshmallowSchema
from marshmallow import ValidationError, pre_load
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from origin.errors import Refused
from origin.settings import Settings
from origin.shared.json_codec import encode_json, read_json
from origin.web.provided import provided

MAX_UNKNOWN = 20
"""Unknown fields of one object that a refusal names."""


def raw_body() -> bytes:
    """The request's body as it came.

    :raises RequestTimeout: it took longer than BODY_TIME_LIMIT to arrive.
    :raises RequestEntityTooLarge: longer than MAX_BODY_BYTES. Of a chunked body the framework
        reads up to its own limit, one byte more, and says nothing.
    """
    known: bytes | None = g.get("raw_body")
    if known is not None:
        return known
    settings = provided(Settings)
    with _in_time(settings.body_time_limit):
        raw = request.get_data()
    if len(raw) > settings.max_body_bytes:
        raise RequestEntityTooLarge
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
            late = f"The body took longer than {limit_s:g} s to arrive"
            raise RequestTimeout(
                "Too busy to wait for the body" if limit.pending else late
            ) from over


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """Answer this object; aware times become ISO 8601."""
    return Response(encode_json(body), status, mimetype="application/json")


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

        :raises Refused: where there is none, or it isn't JSON.
        """
        del req, schema
        raw = raw_body()
        if not raw.strip():
            raise Refused("No JSON body provided")
        try:
            return read_json(raw)
        except ValueError:
            raise Refused("Bad JSON body provided") from None

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: MarshmallowSchema,
        *,
        error_status_code: int | None,
        error_headers: Any,
    ) -> NoReturn:
        """Turn a schema's complaint into a refusal by wire names."""
        del req, schema, error_status_code, error_headers
        raise Refused(cast("dict[str, Any]", error.messages)["json"]) from error


class Blueprint(SmorestBlueprint):
    """A group of views; `@arguments(Schema)` reads the body by our parser."""

    ARGUMENTS_PARSER = _JsonBodyParser()

    def arguments(self, schema: Any, **named: Any) -> Any:
        """Read a request's body by this schema, which is made once: that takes longer than reading."""
        return super().arguments(resolve_schema_instance(schema), **named)
