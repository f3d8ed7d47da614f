"""SQL of the doctor's checks. It only reads."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from origin.db.models import Base

_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def server_version(session: Session) -> str:
    """Return PostgreSQL's version, such as `15.4`."""
    return str(session.scalar(text("SELECT current_setting('server_version')")))


def schema_revision(session: Session) -> str | None:
    """Return the revision to which the database is migrated; None: it never was."""
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found = session.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def unusable_tables(session: Session) -> Sequence[str]:
    """Return the service's tables in which this role may not read and write."""
    rights = " AND ".join(f"has_table_privilege(to_regclass(name), '{each}')" for each in _RIGHTS)
    rows = session.scalars(
        text(
            "SELECT name FROM unnest(CAST(:names AS text[])) AS name "
            f"WHERE to_regclass(name) IS NOT NULL AND NOT ({rights}) ORDER BY name"
        ),
        {"names": list(Base.metadata.tables)},
    )
    return rows.all()


def foreign_tables(session: Session) -> Sequence[str]:
    """Return the service's tables whose owner this role can't act as, so that it can't migrate them."""
    rows = session.scalars(
        text(
            "SELECT relname FROM pg_class "
            "WHERE oid IN (SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) AS name) "
            "AND NOT pg_has_role(relowner, 'USAGE') ORDER BY relname"
        ),
        {"names": list(Base.metadata.tables)},
    )
    return rows.all()


def role_rights(session: Session) -> Row[Any]:
    """Return what this role may do.

    :returns: name, can_create (tables in the schema), can_lock (advisory locks), can_use_temporary
        (tables).
    """
    return session.execute(
        text(
            "SELECT current_user AS name, "
            "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS can_create, "
            "has_function_privilege('pg_advisory_xact_lock(bigint)', 'EXECUTE') AS can_lock, "
            "has_database_privilege(current_database(), 'TEMPORARY') AS can_use_temporary"
        )
    ).one()


def connections(session: Session) -> Row[Any]:
    """Return used and allowed: the connections to all databases, and how many the server accepts.

    `pg_stat_activity` would tell a role without special rights only about its own connections.
    """
    return session.execute(
        text(
            "SELECT sum(numbackends)::int AS used, current_setting('max_connections')::int "
            "- current_setting('superuser_reserved_connections')::int "
            # Since PostgreSQL 16.
            "- coalesce(current_setting('reserved_connections', true)::int, 0) AS allowed "
            "FROM pg_stat_database"
        )
    ).one()


def newest_issued_ggo(session: Session) -> Row[Any] | None:
    """Return address and amount (Wh) of the latest GGO that DataHub announced; None: there is none."""
    return session.execute(
        text(
            "SELECT address, amount FROM ggos WHERE parent_id IS NULL AND NOT never_sent "
            "ORDER BY id DESC LIMIT 1"
        )
    ).one_or_none()
