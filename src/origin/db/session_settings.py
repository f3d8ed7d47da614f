"""The settings of our PostgreSQL sessions, and the requirements on the server.

Options given at connection start override `ALTER ROLE`, `ALTER DATABASE` and the server's configuration.
We don't set `default_transaction_read_only`, because operators use it to stop writes.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from origin.errors import ConfigurationError

_REQUIRED = {
    # After waiting for a row lock, a statement sees the row's new version. All guards rely on that.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A row security policy that hides rows becomes an error instead of an empty result.
    "row_security": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    # The server detects a dead client within half a minute and frees its locks.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
_PLANNING = {
    # Compiling a query takes longer than running any of ours.
    "jit": "off",
    # Random reads are cheap: sums read only indexes, which are in memory or on flash.
    "random_page_cost": "1.1",
}
SERVICE_TIMEOUTS = {
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    # A process that is stopped within a transaction keeps its locks this long.
    "idle_in_transaction_session_timeout": "10s",
}
"""Time limits of web, worker, Beat and commands."""
MIGRATION_TIMEOUTS = {
    # While a change of a table waits for its lock, others queue behind it. So it gives up and retries.
    "lock_timeout": "3s",
    # Building an index on a large table may take hours.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "5min",
}
"""Time limits of migrations."""

_OLDEST_VERSION = 150000
_ENCODING = "UTF8"


def session_options(url: URL, limits: Mapping[str, str]) -> str:
    """Return the `options` of a connection: those of the operators' URI, then ours, which override."""
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
    """Check the server's version, encoding and session settings.

    :returns: The names of durability settings that are off. Without them a crash may lose commits.
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
