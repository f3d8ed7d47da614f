"""What flask-smorest leaves open in the schemas: null, required fields of responses, examples."""

from collections.abc import Iterator
from typing import Any

from origin.ggos.rules.filters import Category, Direction
from origin.ggos.rules.listing import ORDERS
from origin.ggos.rules.summaries import Grouping
from origin.shared.periods import Resolution

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_LEFT_OUT = frozenset(
    {"cursor", "nextCursor", "timezone", "utcOffset", "atTime", "ledger", "recovery", "web"}
)
"""Optional fields that examples leave out."""
_NOT_IN_EVERY_RESPONSE = frozenset({"nextCursor", "ledger", "recovery", "web", "workers", "beat"})
"""Fields that only some responses have, unless the schema says that each has them; all others do."""
_EXAMPLES: dict[str, Any] = {
    "GgoFilters": {"category": "stored"},
    "TransferFilters": {"reference": ["wind"]},
}
"""Examples, by the schema's name, where the examples of the fields do not go together."""
_ENUMS: dict[str, tuple[str, ...]] = {
    "Category": tuple(each.value for each in Category),
    "Direction": tuple(each.value for each in Direction),
    "Grouping": tuple(each.value for each in Grouping),
    "Order": tuple(ORDERS),
    "Resolution": tuple(each.value for each in Resolution),
}
"""Choices that get a schema, and so a type in generated clients, of their own."""


def complete(found: Json) -> None:
    """Complete all schemas of the document in place."""
    schemas = found["components"]["schemas"]
    _name_choices(schemas)
    requests: set[str] = set()
    answers: set[str] = set()
    for operations in found["paths"].values():
        for operation in operations.values():
            _gather(operation.get("requestBody", {}), schemas, requests)
            _gather(operation["responses"], schemas, answers)
    for name in requests - _ENUMS.keys():
        _complete_request(schemas[name])
    for name in answers - _ENUMS.keys():
        always = schemas[name]["properties"].keys() - _NOT_IN_EVERY_RESPONSE
        schemas[name]["required"] = sorted(always | set(schemas[name].get("required", ())))
    for part in _parts(schemas):
        if "integer" in _kinds(part):
            part["format"] = "int64"
        elif "number" in _kinds(part):
            part["format"] = "double"


def example(schema: Json, schemas: Json, name: str = "") -> Any:
    """Return a value that fits the schema, made of the examples of its fields."""
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if schema.get("examples"):
        return schema["examples"][0]
    if "$ref" in schema:
        target = schema["$ref"].removeprefix(_SCHEMAS)
        return example(schemas[target], schemas, target)
    if "anyOf" in schema:
        return example(schema["anyOf"][0], schemas)
    if "enum" in schema:
        return schema["enum"][0]
    kind = next(iter(_kinds(schema)), "object")
    if kind == "array":
        return [example(schema.get("items", {}), schemas)]
    if kind == "object":
        fields = schema.get("properties", {})
        return {
            field: example(each, schemas)
            for field, each in fields.items()
            if field not in _LEFT_OUT or field in schema.get("required", [])
        }
    return {"integer": 0, "number": 0.0, "boolean": True, "string": "…"}[kind]


def resolved(schema: Json, schemas: Json) -> Json:
    """Return the schema that a reference leads to; another one as it is."""
    found: Json = schemas[schema["$ref"].removeprefix(_SCHEMAS)] if "$ref" in schema else schema
    return found


def _name_choices(schemas: Json) -> None:
    """Give the choices of `_ENUMS` schemas of their own, and let fields refer to them."""
    names = {choices: name for name, choices in _ENUMS.items()}
    for part in list(_parts(schemas)):
        name = names.get(tuple(part.get("enum", ())))
        if name is not None:
            for keyword in ("type", "enum", "maxLength"):
                part.pop(keyword, None)
            part["$ref"] = f"{_SCHEMAS}{name}"
    for name, choices in _ENUMS.items():
        schemas[name] = {"type": "string", "enum": list(choices)}
    # Names for generated clients, which can't make any of "-begin".
    schemas["Order"]["x-enum-varnames"] = [
        each.removeprefix("-").upper() + ("_DESCENDING" if each.startswith("-") else "")
        for each in ORDERS
    ]


def _gather(part: Any, schemas: Json, names: set[str]) -> None:
    """Add the names of all schemas that this part refers to, directly or through others."""
    if isinstance(part, list):
        for each in part:
            _gather(each, schemas, names)
    elif isinstance(part, dict):
        reference = part.get("$ref", "")
        name = reference.removeprefix(_SCHEMAS)
        if name != reference and name in schemas and name not in names and name != "Error":
            names.add(name)
            _gather(schemas[name], schemas, names)
        for each in part.values():
            _gather(each, schemas, names)


def _complete_request(schema: Json) -> None:
    """Let optional fields be null.

    Their defaults stand in the descriptions: generated clients would demand fields with a `default`.
    """
    fields = schema["properties"]
    for name in fields.keys() - set(schema.get("required", [])):
        fields[name] = _nullable(fields[name])
        default = fields[name].pop("default", None)
        if default not in (None, "", [], {}):
            fields[name]["description"] += f" (default: {str(default).lower()})"


def _nullable(schema: Json) -> Json:
    """Return the schema with null allowed: for an optional field null means absent."""
    if "$ref" in schema:
        reference = {"$ref": schema.pop("$ref")}
        return {**schema, "anyOf": [reference, {"type": "null"}]}
    kind = schema.get("type")
    if isinstance(kind, str):
        made = {**schema, "type": [kind, "null"]}
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
        return made
    if "enum" in schema and None not in schema["enum"]:
        return {**schema, "enum": [*schema["enum"], None]}
    return schema


def _kinds(schema: Json) -> list[str]:
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def _parts(part: Any) -> Iterator[Json]:
    """Yield every object in the document's part."""
    if isinstance(part, list):
        for each in part:
            yield from _parts(each)
    elif isinstance(part, dict):
        yield part
        for name, each in part.items():
            if name not in {"examples", "example"}:
                yield from _parts(each)
