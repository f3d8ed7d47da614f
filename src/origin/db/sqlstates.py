"""Maps each SQLSTATE of PostgreSQL to what it means for the caller.

A SQLSTATE's first two characters are its class. States that differ from their class stand in `_STATES`.
"""

from enum import Enum

import psycopg2
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class Fault(Enum):
    """The cause of a database error."""

    TRANSIENT = "transient"
    """A temporary state of the database. A repeat may succeed later (503)."""
    REQUEST = "request"
    """A value that the database can't store. A repeat never succeeds (400)."""
    BUG = "bug"
    """A bug, or a damaged or unexpected database (500)."""


READ_ONLY = "25006"
"""A write on a standby, on a demoted primary, or while operators have stopped writes."""

_CLASSES = {
    "00": Fault.BUG,  # successful completion
    "01": Fault.BUG,  # warning
    "02": Fault.BUG,  # no data
    "03": Fault.BUG,  # SQL statement not yet complete
    "08": Fault.TRANSIENT,  # connection exception
    "09": Fault.BUG,  # triggered action exception
    "0A": Fault.BUG,  # feature not supported
    "0B": Fault.BUG,  # invalid transaction initiation
    "0F": Fault.BUG,  # locator exception
    "0L": Fault.BUG,  # invalid grantor
    "0P": Fault.BUG,  # invalid role specification
    "0Z": Fault.BUG,  # diagnostics exception
    "10": Fault.BUG,  # XQuery error
    "20": Fault.BUG,  # case not found
    "21": Fault.BUG,  # cardinality violation
    "22": Fault.BUG,  # data exception
    "23": Fault.BUG,  # integrity constraint violation
    "24": Fault.BUG,  # invalid cursor state
    "25": Fault.BUG,  # invalid transaction state
    "26": Fault.TRANSIENT,  # a prepared statement that a pooler dropped; it is prepared anew
    "27": Fault.BUG,  # triggered data change violation
    "28": Fault.TRANSIENT,  # invalid authorization: a password is being changed
    "2B": Fault.BUG,  # dependent privilege descriptors still exist
    "2D": Fault.BUG,  # invalid transaction termination
    "2F": Fault.BUG,  # SQL routine exception
    "34": Fault.BUG,  # invalid cursor name
    "38": Fault.BUG,  # external routine exception
    "39": Fault.BUG,  # external routine invocation exception
    "3B": Fault.BUG,  # savepoint exception
    "3D": Fault.TRANSIENT,  # no such database: it is being restored
    "3F": Fault.BUG,  # invalid schema name
    "40": Fault.TRANSIENT,  # transaction rollback: deadlock, conflict with recovery
    "42": Fault.BUG,  # syntax error or access rule violation
    "44": Fault.BUG,  # WITH CHECK OPTION violation
    "53": Fault.TRANSIENT,  # insufficient resources: disk full, out of memory
    "54": Fault.BUG,  # program limit exceeded
    "55": Fault.BUG,  # object not in prerequisite state
    "57": Fault.TRANSIENT,  # operator intervention, and statement_timeout
    "58": Fault.TRANSIENT,  # system error
    "72": Fault.TRANSIENT,  # snapshot too old
    "F0": Fault.TRANSIENT,  # configuration file error: the server can't start
    "HV": Fault.BUG,  # foreign data wrapper error
    "P0": Fault.BUG,  # PL/pgSQL error
    "XX": Fault.BUG,  # internal error, corrupted data
}
_STATES = {
    "22001": Fault.REQUEST,  # string data right truncation
    "22003": Fault.REQUEST,  # numeric value out of range
    "22007": Fault.REQUEST,  # invalid datetime format
    "22008": Fault.REQUEST,  # datetime field overflow
    "22009": Fault.REQUEST,  # invalid time zone displacement
    "22015": Fault.REQUEST,  # interval field overflow
    "22021": Fault.REQUEST,  # character not in repertoire
    "22032": Fault.REQUEST,  # invalid JSON text
    "22P02": Fault.REQUEST,  # invalid text representation
    "22P05": Fault.REQUEST,  # untranslatable character: NUL in JSON
    READ_ONLY: Fault.TRANSIENT,
    "25P03": Fault.TRANSIENT,  # idle in transaction for too long
    "25P04": Fault.TRANSIENT,  # transaction timeout
    "40002": Fault.BUG,  # transaction integrity constraint violation
    "54000": Fault.REQUEST,  # too large for an index entry
    "54001": Fault.REQUEST,  # statement too complex
    "55006": Fault.TRANSIENT,  # object in use
    "55P03": Fault.TRANSIENT,  # lock not available
}


def fault_of(state: str) -> Fault:
    """Return the cause of this SQLSTATE; unknown classes count as bugs."""
    return _STATES.get(state) or _CLASSES.get(state[:2], Fault.BUG)


def fault_in(error: BaseException) -> Fault:
    """Return the cause of an error of the driver, SQLAlchemy or the pool."""
    if isinstance(error, PoolTimeoutError):
        return Fault.TRANSIENT
    driver_error = error.orig if isinstance(error, DBAPIError) else error
    state = state_of(error)
    if state is not None and fault_of(state) is not Fault.BUG:
        return fault_of(state)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Fault.TRANSIENT
    # Without a SQLSTATE the server sent no error, so the connection failed.
    lost = isinstance(driver_error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return Fault.TRANSIENT if state is None and lost else Fault.BUG


def affects_all_work(error: BaseException) -> bool:
    """Return whether an error concerns the server or the connection, so that other work fails too.

    Locks and time limits don't count: they may concern this one piece of work.
    """
    state = state_of(error)
    if state is None or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return fault_in(error) is Fault.TRANSIENT
    return state == READ_ONLY or state[:2] in {"08", "53", "58"} or state.startswith("57P")


def state_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error; None if the server sent none."""
    driver_error = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(driver_error, "pgcode", None)
    return state if isinstance(state, str) and state else None
