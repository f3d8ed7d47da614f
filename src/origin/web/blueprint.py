"""Blueprints whose views read JSON bodies by schemas."""

from typing import Any, NoReturn, cast

from flask.wrappers import Request
from flask_smorest import Blueprint as SmorestBlueprint
from flask_smorest.utils import resolve_schema_instance
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser

from origin.errors import BodyMissing, BodyNotJson, SchemaViolated
from origin.shared.json_codec import read_json
from origin.web.bodies import raw_body


class JsonBodyParser(FlaskParser):
    """Reads every body as JSON, whatever its Content-Type says."""

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Return the parsed body, for the schema to check.

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
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Any,
    ) -> NoReturn:
        """Raise what does not fit the schema.

        :raises SchemaViolated: Always.
        """
        del req, schema, error_status_code, error_headers
        raise SchemaViolated(cast("dict[str, Any]", error.messages)["json"]) from error


class Blueprint(SmorestBlueprint):
    """A group of views; `@arguments(Schema)` reads the body by our parser."""

    ARGUMENTS_PARSER = JsonBodyParser()

    def arguments(self, schema: Any, **named: Any) -> Any:
        """Read a request's body by this schema; the schema is instantiated once, which is slow."""
        return super().arguments(resolve_schema_instance(schema), **named)
