"""What every session of ours at PostgreSQL is set to, and what a server must be.

The options of a connection's start outrank what `ALTER ROLE`, `ALTER DATABASE` and the server's
configuration say. `default_transaction_read_only` is left alone: it is how operators stop writing.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from origin.errors import ConfigurationError

_REQUIRED = {
    # Rows that a transaction waits for are read anew after the wait: all guards are built on that.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A policy that hides rows from us is an error, not an empty answer.
    "row_security": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    # A client whose host is gone is noticed within half a minute, and its locks are free.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
_PLANNING = {
    # Compiling a query costs more than any of ours takes.
    "jit": "off",
    # Indexes hold all that sums need, and are in memory or on flash: reading them isn't dear.
    "random_page_cost": "1.1",
}
SERVICE_TIMEOUTS = {
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    # A process that is stopped within a transaction holds its locks for that long.
    "idle_in_transaction_session_timeout": "10s",
}
"""The time limits of web, worker, Beat and commands."""
MIGRATION_TIMEOUTS = {
    # Everybody else waits behind a change of a table that waits: it gives way, and tries again.
    "lock_timeout": "3s",
    # An index on a large table takes what it takes.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "5min",
}
"""The time limits of migrations."""

_OLDEST_VERSION = 150000
_ENCODING = "UTF8"


def session_options(url: URL, limits: Mapping[str, str]) -> str:
    """The `options` of a connection: the operators' own, if their URI has any, and then ours."""
    given = url.query.get("options", "")
    own = given if isinstance(given, str) else " ".join(given)
    ours = (
        f"-c {name}={_escaped(value)}"
        for name, value in {**_REQUIRED, **limits, **_PLANNING}.items()
    )
    return " ".join([own, *ours]).strip()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def check_server(connection: Connection) -> list[str]:
    """Refuse a server that the service can't rely on.

    :returns: The settings that are off and without which it may lose what it has confirmed.
    :raises ConfigurationError: naming everything that is wrong with the server.
    """
    names = (*_REQUIRED, "server_encoding", "client_encoding", "session_replication_role")
    durability = ("fsync", "full_page_writes", "synchronous_commit")
    found = {
        name: str(value)
        for name, value in connection.execute(
            text("SELECT name, current_setting(name) FROM unnest(CAST(:names AS text[])) AS name"),
            {"names": [*names, *durability, "server_version_num", "server_version"]},
        )
    }
    wrong = []
    if int(found["server_version_num"]) < _OLDEST_VERSION:
        wrong.append(f"it is version {found['server_version']}; 15 or later is needed")
    wanted = {
        **{name: value for name, value in _REQUIRED.items() if not name.startswith("tcp_")},
        "server_encoding": _ENCODING,
        "client_encoding": _ENCODING,
        "session_replication_role": "origin",
    }
    wrong += [
        f"{name} is {found[name]}; {value} is needed"
        for name, value in wanted.items()
        if found[name] != value
    ]
    if wrong:
        reasons = "; ".join(wrong)
        raise ConfigurationError(f"The database is not as the service needs it: {reasons}")
    return [name for name in durability if found[name] == "off"]
