"""Rules that every schema of a request follows, future ones included."""

from collections.abc import Iterator
from typing import Any

import pytest
from marshmallow import fields

from devstack.openapi_document import openapi_text
from origin.shared.json_codec import read_json
from origin.web.collections import Entries, Items
from origin.web.fields import WholeNumber
from origin.web.messages import MAX_MESSAGE_BYTES, as_json, shortened
from origin.web.schema import Schema


def _subclasses(kind: type[Schema]) -> Iterator[type[Schema]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _fields_of(schema: Any) -> Iterator[tuple[str, fields.Field[Any]]]:
    for name, field in schema.load_fields.items():
        yield from _within(f"{type(schema).__name__}.{name}", field)


def _within(place: str, field: fields.Field[Any]) -> Iterator[tuple[str, fields.Field[Any]]]:
    yield place, field
    if isinstance(field, fields.Nested):
        yield from _fields_of(field.schema)
    if isinstance(field, fields.List):
        yield from _within(place, field.inner)


@pytest.fixture(scope="module")
def requested() -> list[tuple[str, fields.Field[Any]]]:
    """Return all fields of all requests, by the OpenAPI document."""
    paths = read_json(openapi_text().encode())["paths"].values()
    bodies = [
        each["requestBody"] for has in paths for each in has.values() if "requestBody" in each
    ]
    names = {
        body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] for body in bodies
    }
    schemas = [each for each in _subclasses(Schema) if each.__name__ in names]
    assert len(schemas) == len(names) > 10
    return [found for each in schemas for found in _fields_of(each())]


def test_the_length_of_every_list_is_checked_before_its_items(
    requested: list[tuple[str, fields.Field[Any]]],
):
    lists = [(place, field) for place, field in requested if isinstance(field, fields.List)]
    assert len(lists) > 10
    assert [place for place, field in lists if not isinstance(field, Items)] == []
    mappings = [(place, field) for place, field in requested if isinstance(field, fields.Mapping)]
    assert [place for place, field in mappings if not isinstance(field, Entries)] == []
    assert not [
        place for place, field in requested if isinstance(field, fields.Nested) and field.many
    ]


def test_there_is_one_rule_for_whole_numbers(requested: list[tuple[str, fields.Field[Any]]]):
    whole = [(place, field) for place, field in requested if isinstance(field, fields.Integer)]
    assert len(whole) > 5
    assert [place for place, field in whole if not isinstance(field, WholeNumber)] == []


@pytest.mark.parametrize(
    "message",
    [
        "x" * 1_000_000,
        {"x" * 1_000_000: ["Unknown field."]},
        {"\u0001" * 300 + str(number): ["\u0001" * 300] for number in range(1000)},
        {
            "transfers": {
                number: {"amount": ["Wrong.", "\U0001f600" * 400]} for number in range(9000)
            }
        },
        {"list": ["x" * 100] * 10_000},
    ],
    ids=range(5),
)
def test_every_message_is_bounded(message: Any):
    short = shortened(message)
    assert type(short) is type(message)
    assert 200 < len(as_json({"success": False, "message": short})) <= MAX_MESSAGE_BYTES
    assert read_json(as_json(short)) is not None


def test_a_short_message_is_unchanged():
    message = {"transfers": {0: {"account": ["Missing data for required field."]}}}
    assert shortened(message) is message
