"""Checks of PostgreSQL: the server, the schema, and what this role may do."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from origin.db.clock_watch import measure_skew
from origin.db.compatibility import known_revisions, oldest_usable_revision
from origin.db.engine import Database, ReadOnly
from origin.db.session_settings import check_server
from origin.doctor import queries
from origin.doctor.rules import (
    CONNECTIONS_WARNING,
    Check,
    Finding,
    fail,
    judge_clock,
    judge_schema,
    ok,
    warn,
)
from origin.errors import ConfigurationError
from origin.monitoring.queries import limit_statement_time

_NEEDS = ("database_",)

UNREACHABLE = "Not checked: the database can't be reached."

Read = Callable[[Session], Iterable[Finding]]
"""A check that reads the database within one transaction."""


@dataclass(frozen=True)
class DatabaseChecks:
    """Makes checks that need the database.

    The first check tries to connect for all of them: otherwise they would wait one after the other. The
    answer is kept, so make new checks for each run of the doctor.
    """

    database: Database
    _lock: Lock = field(default_factory=Lock)
    _outcome: Future[None] = field(default_factory=Future)

    def all(self) -> Sequence[Check]:
        """Return the checks of PostgreSQL itself."""
        return [
            Check("database", self._server, _NEEDS),
            self.reading("database settings", _settings),
            self.reading("schema", _schema),
            self.reading("database role", _role),
            self.reading("database connections", _connections),
            self.after_connecting("database clock", self._clock),
        ]

    def reading(self, name: str, read: Read) -> Check:
        """Return a check that reads the database. It fails if the database can't be reached."""

        def run() -> Iterable[Finding]:
            with self.database.transaction() as session:
                limit_statement_time(session)
                return list(read(session))

        return self.after_connecting(name, run)

    def after_connecting(
        self, name: str, run: Callable[[], Iterable[Finding]], needs: Collection[str] = ()
    ) -> Check:
        """Return a check that fails without running if the database can't be reached.

        :param needs: What it needs besides the database's settings.
        """

        def checked() -> Iterable[Finding]:
            try:
                self._connect()
            except (SQLAlchemyError, ReadOnly, ConfigurationError):
                return [fail(name, UNREACHABLE)]
            try:
                return list(run())
            except DBAPIError as error:
                return [fail(name, f"It can't be checked: {_words(error)}.")]

        return Check(name, checked, (*_NEEDS, *needs))

    def _connect(self) -> None:
        """Connect once for all checks.

        :raises SQLAlchemyError: the database can't be reached.
        """
        with self._lock:
            if not self._outcome.done():
                try:
                    with self.database.reading() as session:
                        session.connection()
                    self._outcome.set_result(None)
                except Exception as error:  # noqa: BLE001 - raised below, for each check
                    self._outcome.set_exception(error)
        self._outcome.result()

    def _server(self) -> Iterator[Finding]:
        check = "database"
        try:
            self._connect()
            with self.database.reading() as session:
                version = queries.server_version(session)
            self.database.probe()
        except ReadOnly:
            yield fail(check, "It takes no writes: it is a standby, or was made read-only.")
        except DBAPIError as error:
            yield fail(
                check,
                f"It can't be used: {_words(error)}. Check DATABASE_URI, and whether the server runs.",
            )
        else:
            yield ok(check, f"PostgreSQL {version} answers, and takes writes.")

    def _clock(self) -> Iterator[Finding]:
        skew_s, error_s = measure_skew(self.database)
        yield judge_clock("database clock", "PostgreSQL", skew_s, error_s)


def _words(error: DBAPIError) -> str:
    """Return the driver's message in one line. It may name hosts and users, but no password."""
    return " ".join(str(error.orig).split()).rstrip(".?")


def _settings(session: Session) -> Iterator[Finding]:
    check = "database settings"
    try:
        off = check_server(session.connection())
    except ConfigurationError as error:
        yield fail(check, f"{error} (doc/operations/database-and-redis.md).")
        return
    if off:
        names = ", ".join(off)
        yield warn(check, f"Off: {names}. A crash of the server may lose commits. Switch them on.")
    else:
        yield ok(check, "Version, encoding, isolation level and time zone are as needed.")


def _schema(session: Session) -> Iterator[Finding]:
    found, known = queries.schema_revision(session), known_revisions()
    is_later = found is not None and found not in known
    yield judge_schema(found, known, oldest_usable_revision(session) if is_later else None)


def _role(session: Session) -> Iterator[Finding]:
    check, rights = "database role", queries.role_rights(session)
    if not rights.can_lock:
        yield fail(check, f"{rights.name} may not execute pg_advisory_xact_lock: grant it.")
    elif tables := queries.unusable_tables(session):
        names = _some(tables)
        yield fail(check, f"{rights.name} may not read and write {names}: grant it.")
    elif not rights.can_create:
        yield warn(check, f"{rights.name} may not create tables: another role must migrate.")
    elif tables := queries.foreign_tables(session):
        names = _some(tables)
        yield warn(check, f"{rights.name} doesn't own {names}: the owner must migrate.")
    elif not rights.can_use_temporary:
        yield warn(check, f"{rights.name} may not use temporary tables: `flask adopt` needs them.")
    else:
        yield ok(check, f"{rights.name} may do what the service needs.")


def _some(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _connections(session: Session) -> Iterator[Finding]:
    check, found = "database connections", queries.connections(session)
    told = f"{found.used} of {found.allowed} connections are in use."
    if found.used >= CONNECTIONS_WARNING * found.allowed:
        yield warn(check, f"{told} Raise max_connections (doc/operations/sizing.md).")
    else:
        yield ok(check, told)
