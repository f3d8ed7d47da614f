"""Blueprints of version 2: strict bodies and strict queries (contract: v2, Conventions)."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, cast

from flask import request
from flask.wrappers import Request
from marshmallow import Schema, ValidationError

from origin.errors import BodyNotJson, SchemaViolated
from origin.web import blueprint as old
from origin.web.bodies import raw_body
from origin.web.messages import CodedText
from origin.web.v2.schema import Body

_TWICE = CodedText("Stands more than once.", "duplicate")
_TOO_DEEP = CodedText("Nested too deeply.", "invalid")
_MAX_DEPTH = 20
"""No schema is nested as deeply."""
_UNKNOWN = "Unknown parameter."
_MAX_NAMED = 20
"""The most parameters of a query that an error names."""
_READS_QUERY = "origin_reads_query"


class _StrictParser(old.JsonBodyParser):
    """Reads bodies and queries, and takes nothing that stands twice."""

    # The schemas decide: they take no unknown member or parameter.
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {}  # noqa: RUF012 - webargs' attribute

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Return the parsed body, for the schema to check.

        :raises BodyMissing: There is none.
        :raises BodyNotJson: It is not JSON.
        :raises SchemaViolated: An object has two members of one name.
        """
        found = super().load_json(req, schema)
        if twice := _members_twice(raw_body()):
            raise SchemaViolated(twice)
        return found

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Return the parameters of the query, for the schema to check.

        :raises SchemaViolated: One stands twice.
        """
        del schema
        twice = [name for name, values in req.args.lists() if len(values) > 1]
        if twice:
            raise SchemaViolated({name: [_TWICE] for name in twice[:_MAX_NAMED]}, in_query=True)
        return req.args.to_dict()

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
        [(location, messages)] = cast("dict[str, Any]", error.messages).items()
        raise SchemaViolated(messages, in_query=location == "query") from error


class Blueprint(old.Blueprint):
    """A group of version 2's views. Each view says how it reads the query: by `query` or by `body`."""

    ARGUMENTS_PARSER = _StrictParser()

    def query(self, schema: Any = None) -> Any:
        """Read the query by this schema (a `Query`), or let the view have no parameters if None.

        Place it below `@requires`: authenticate first. The view gets what the schema loads.
        """

        def decorate(view: Callable[..., Any]) -> Any:
            reading = self.arguments(schema, location="query")(view) if schema else _bare(view)
            reading.__dict__[_READS_QUERY] = True
            return reading

        return decorate

    def body(self, schema: Any = None, **named: Any) -> Any:
        """Read the body by this schema (a `Body`), or let it have no members if None; no query either.

        :param named: As `arguments` of flask-smorest, such as `examples`.
        """

        def decorate(view: Callable[..., Any]) -> Any:
            reading = _bare(self.arguments(schema, **named)(view) if schema else _empty(view))
            reading.__dict__[_READS_QUERY] = True
            return reading

        return decorate

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Any = None,
        *args: Any,
        **options: Any,
    ) -> None:
        """Register a view.

        :raises TypeError: Its path is not of version 2, or it does not say how it reads the query.
        """
        if not rule.startswith("/v2/"):
            raise TypeError(f"{rule} is not a path of version 2")
        if not getattr(view_func, _READS_QUERY, False):
            raise TypeError(f"{rule}: add @blueprint.query() or @blueprint.body(…)")
        super().add_url_rule(rule, endpoint, view_func, *args, **options)


def _bare(view: Callable[..., Any]) -> Callable[..., Any]:
    """Reject a query with parameters.

    :raises SchemaViolated: It has some.
    """

    @wraps(view)
    def reading(*args: Any, **named: Any) -> Any:
        if names := list(request.args)[:_MAX_NAMED]:
            raise SchemaViolated({name: [_UNKNOWN] for name in names}, in_query=True)
        return view(*args, **named)

    return reading


def _empty(view: Callable[..., Any]) -> Callable[..., Any]:
    """Reject a body that is neither absent nor an object without members.

    :raises BodyNotJson: It is not JSON.
    :raises SchemaViolated: It has members, or is no object.
    """
    no_members = Body()

    @wraps(view)
    def reading(*args: Any, **named: Any) -> Any:
        if raw_body().strip():
            Blueprint.ARGUMENTS_PARSER.parse(no_members, request)
        return view(*args, **named)

    return reading


class _Twice(dict[str, Any]):
    """An object in which some names stand twice."""

    names: set[str]


def _members_twice(raw: bytes) -> dict[Any, Any]:
    """Return messages about the members that stand twice in this JSON, nested as it is.

    msgspec keeps the last of them and says nothing.

    :raises BodyNotJson: It is nested too deeply.
    """
    found = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        read = dict(pairs)
        if len(read) == len(pairs):
            return read
        found, twice = True, _Twice(read)
        seen: set[str] = set()
        twice.names = {name for name, _ in pairs if name in seen or seen.add(name)}  # type: ignore[func-returns-value]
        return twice

    try:
        # Numbers stay texts: those with thousands of digits are slow to read, or errors.
        document = json.loads(raw, object_pairs_hook=members, parse_int=str, parse_float=str)
    except RecursionError:
        raise BodyNotJson from None
    return _messages(document) if found else {}


def _messages(part: Any, depth: int = 0) -> dict[Any, Any]:
    messages: dict[Any, Any] = {}
    if isinstance(part, dict | list):
        if depth == _MAX_DEPTH:
            return {"_schema": [_TOO_DEEP]}
        items = part.items() if isinstance(part, dict) else enumerate(part)
        found = ((name, _messages(each, depth + 1)) for name, each in items)
        messages = {name: below for name, below in found if below}
    if isinstance(part, _Twice):
        messages.update({name: [_TWICE] for name in part.names})
    return messages
