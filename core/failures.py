"""What an error of the database means: away, out of room, or an outcome that is not known."""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as DatabaseBusy

from core import postgresql
from core.problems import OutcomeUnknown, Problem, ServiceUnavailable, StorageFull

#: Seconds after which who is refused may come again.
STORAGE_RETRY, UNKNOWN_RETRY, AWAY_RETRY = 60, 5, 2
NO_ROOM = (
    "Nothing can be stored until the operator makes room; deleting and acknowledging still work."
)
#: Errors of PostgreSQL that say that its disk is full.
_DISK_FULL = "53100"


def is_full(error: DBAPIError) -> bool:
    """Say whether there was no room; nothing is done then."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(cause, "sqlstate", None) == _DISK_FULL


def is_gone(error: DBAPIError) -> bool:
    """Say whether the connection is good for nothing any more."""
    cause = error.orig
    return error.connection_invalidated or (cause is not None and postgresql.is_gone(cause))


def leaves_open(error: DBAPIError) -> bool:
    """Say of an error of a commit whether it may hold all the same."""
    cause = error.orig
    if isinstance(cause, postgresql.CommitUnconfirmed):
        return True
    # An error that the server gave is a refusal; one that it did not give says nothing.
    return isinstance(cause, psycopg.Error) and (cause.sqlstate is None or is_gone(error))


def problem_of(error: Exception) -> Problem | None:
    """Give what a caller is told of an error of the database; None when the fault is ours."""
    if isinstance(error, StorageFull | OutcomeUnknown):
        return error
    if isinstance(error, DatabaseBusy):
        return _away()
    if not isinstance(error, DBAPIError):
        return None
    if is_full(error):
        return StorageFull(NO_ROOM, retry_after=STORAGE_RETRY)
    if isinstance(error, OperationalError | InterfaceError) or is_gone(error):
        return _away()
    return None


def _away() -> ServiceUnavailable:
    return ServiceUnavailable("The database does not answer; try again.", retry_after=AWAY_RETRY)
