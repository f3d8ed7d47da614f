"""Each SQLSTATE of PostgreSQL has a cause."""

import psycopg2
from psycopg2 import errorcodes
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from origin.db import sqlstates
from origin.db.sqlstates import Fault, fault_in, fault_of

_NAMED = {
    value: name
    for name, value in vars(errorcodes).items()
    if name.isupper() and isinstance(value, str)
}
_CLASSES = {value for value in _NAMED if len(value) == 2}
_STATES = {value for value in _NAMED if len(value) == 5}


def test_every_class_of_the_driver_is_mapped():
    assert set(sqlstates._CLASSES) == _CLASSES
    assert set(sqlstates._STATES) <= _STATES


def test_transient_and_request_states_are_exactly_these():
    """States by their names in PostgreSQL's manual. All others are bugs."""
    found = {
        fault: {_NAMED[state] for state in _STATES if fault_of(state) is fault} for fault in Fault
    }
    assert found[Fault.REQUEST] == {
        "STRING_DATA_RIGHT_TRUNCATION",
        "NUMERIC_VALUE_OUT_OF_RANGE",
        "INVALID_DATETIME_FORMAT",
        "DATETIME_FIELD_OVERFLOW",
        "INVALID_TIME_ZONE_DISPLACEMENT_VALUE",
        "INTERVAL_FIELD_OVERFLOW",
        "CHARACTER_NOT_IN_REPERTOIRE",
        "INVALID_JSON_TEXT",
        "INVALID_TEXT_REPRESENTATION",
        "UNTRANSLATABLE_CHARACTER",
        "PROGRAM_LIMIT_EXCEEDED",
        "STATEMENT_TOO_COMPLEX",
    }
    passing = ("08", "26", "28", "3D", "40", "53", "57", "58", "72", "F0")
    by_themselves = {
        "READ_ONLY_SQL_TRANSACTION",
        "IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
        "TRANSACTION_TIMEOUT",
        "LOCK_NOT_AVAILABLE",
        "OBJECT_IN_USE",
    }
    of_classes = {_NAMED[state] for state in _STATES if state.startswith(passing)}
    assert (
        found[Fault.TRANSIENT]
        == of_classes - {"TRANSACTION_INTEGRITY_CONSTRAINT_VIOLATION"} | by_themselves
    )


def test_an_error_without_a_state_is_a_lost_connection():
    def wrapped(error: psycopg2.Error, *, lost: bool = False) -> DBAPIError:
        made = DBAPIError.instance(None, None, error, psycopg2.Error, connection_invalidated=lost)
        assert isinstance(made, DBAPIError)
        return made

    assert fault_in(wrapped(psycopg2.OperationalError("gone"))) is Fault.TRANSIENT
    assert fault_in(psycopg2.InterfaceError("closed")) is Fault.TRANSIENT
    assert fault_in(PoolTimeoutError()) is Fault.TRANSIENT
    assert fault_in(wrapped(psycopg2.ProgrammingError("no places"))) is Fault.BUG
    assert fault_in(wrapped(psycopg2.ProgrammingError("no places"), lost=True)) is Fault.TRANSIENT
    assert fault_in(ValueError()) is Fault.BUG
