"""What a migration takes away from the code of the release before: everything but additions."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import Inspector

Rule = tuple[str, set[str]]


@dataclass(frozen=True)
class Schema:
    """Columns by table and name, and rules by table with the names of their columns."""

    columns: dict[str, dict[str, dict[str, Any]]]
    rules: dict[str, dict[str, set[str]]]


def read_schema(connection: Connection) -> Schema:
    """Read the schema as it is in the connection's transaction."""
    inspector = inspect(connection)
    names = [name for name in inspector.get_table_names() if name != "alembic_version"]
    columns = {
        name: {each["name"]: dict(each) for each in inspector.get_columns(name)} for name in names
    }
    return Schema(columns, {name: dict(_rules(inspector, name, columns[name])) for name in names})


def _rules(inspector: Inspector, table: str, columns: Iterable[str]) -> Iterator[Rule]:
    """Yield checks, unique indexes and foreign keys."""
    for check in inspector.get_check_constraints(table):
        yield f"CHECK {check['sqltext']}", set(re.findall(r"\w+", check["sqltext"])) & set(columns)
    for index in inspector.get_indexes(table):
        if index["unique"]:
            names = index["column_names"]
            yield f"UNIQUE {names} {index.get('dialect_options')}", set(filter(None, names))
    for key in inspector.get_foreign_keys(table):
        names = key["constrained_columns"]
        yield f"REFERENCES {names} {key['referred_table']}", set(names)


def contractions(before: Schema, after: Schema) -> list[str]:
    """Return what code for the schema before can't do after it; nothing if the schema only grew."""
    return sorted(_contractions(before, after))


def _contractions(before: Schema, after: Schema) -> Iterator[str]:
    for table, columns in before.columns.items():
        if table not in after.columns:
            yield f"{table} is gone"
            continue
        for rule in after.rules[table].keys() - before.rules[table].keys():
            # Code of before leaves new columns alone: only a rule about older ones can stop it.
            if after.rules[table][rule] & columns.keys():
                yield f"{table} has a new rule: {rule}"
        yield from (f"{table}.{each}" for each in _lost(columns, after.columns[table]))


def _lost(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield what code that knows a table's columns of before can't do with those of after."""
    for name, column in before.items():
        now = after.get(name)
        if now is None:
            yield f"{name} is gone"
        elif str(now["type"]) != str(column["type"]):
            yield f"{name} has another type"
        elif column["nullable"] and not now["nullable"]:
            yield f"{name} must not be NULL any more"
        elif _is_filled(column) and not _is_filled(now):
            yield f"{name} has no default any more"
    for name in after.keys() - before.keys():
        if not after[name]["nullable"] and not _is_filled(after[name]):
            yield f"{name} is new and required"


def _is_filled(column: dict[str, Any]) -> bool:
    return bool(column["default"] or column.get("identity") or column.get("computed"))
