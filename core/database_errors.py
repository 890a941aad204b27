"""What a database error means: unavailable, disk full, or an unknown outcome."""

import re
import sqlite3

import psycopg
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as DatabaseBusy

from core import postgresql
from core.problems import OutcomeUnknown, Problem, ServiceUnavailable, StorageFull

#: Seconds in `Retry-After`.
STORAGE_RETRY, UNKNOWN_RETRY, AWAY_RETRY, UNMIGRATED_RETRY = 60, 5, 2, 10
NO_ROOM = (
    "Nothing can be stored until the operator makes room; deleting and acknowledging still work."
)
#: SQLSTATE of a full disk.
_DISK_FULL = "53100"
#: SQLSTATE of a missing table or column.
_NOT_THERE = ("42P01", "42703")
NOT_MIGRATED = "The database is not migrated: run alembic upgrade head."


def is_full(error: DBAPIError) -> bool:
    """Return whether the disk was full; nothing was changed then."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return getattr(cause, "sqlstate", None) == _DISK_FULL


def is_gone(error: DBAPIError) -> bool:
    """Return whether the connection cannot be used any more."""
    cause = error.orig
    return error.connection_invalidated or (cause is not None and postgresql.is_gone(cause))


def is_commit_uncertain(error: DBAPIError) -> bool:
    """Return whether a commit that failed with this error may have succeeded."""
    cause = error.orig
    if isinstance(cause, postgresql.CommitUnconfirmed):
        return True
    # An error from the server is a refusal; without one the outcome is unknown.
    return isinstance(cause, psycopg.Error) and (cause.sqlstate is None or is_gone(error))


def is_unmigrated(error: DBAPIError) -> bool:
    """Return whether the tables are not those of this version."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        # SQLite has one error code for everything that is wrong with a statement.
        return re.search("no such (table|column)|has no column", str(cause)) is not None
    return getattr(cause, "sqlstate", None) in _NOT_THERE


def describe_error(error: Exception) -> str | None:
    """Return a line about a database error for operators; None for a bug of ours."""
    if isinstance(error, DBAPIError) and is_unmigrated(error):
        return NOT_MIGRATED
    problem = problem_of(error)
    if problem is not None and not isinstance(problem, ServiceUnavailable):
        return problem.detail
    # A file that is no database raises plain DatabaseError.
    if problem is None and type(error) is not DatabaseError:
        return None
    cause = error.orig if isinstance(error, DBAPIError) else error
    reason = (str(cause).splitlines() or [type(cause).__name__])[0]
    return f"The database of KITH_DATABASE_URL does not answer: {reason}"


def log_fields(error: Exception) -> dict[str, object]:
    """Return the log fields of an error: a line for operators, or else the traceback."""
    sentence = describe_error(error)
    return {"error": sentence} if sentence else {"exc_info": error}


def problem_of(error: Exception) -> Problem | None:
    """Return the problem that a client gets for a database error; None for a bug of ours."""
    if isinstance(error, StorageFull | OutcomeUnknown):
        return error
    if isinstance(error, DatabaseBusy):
        return _away()
    if not isinstance(error, DBAPIError):
        return None
    if is_full(error):
        return StorageFull(NO_ROOM, retry_after=STORAGE_RETRY)
    if is_unmigrated(error):
        return ServiceUnavailable(NOT_MIGRATED, retry_after=UNMIGRATED_RETRY)
    if isinstance(error, OperationalError | InterfaceError) or is_gone(error):
        return _away()
    return None


def _away() -> ServiceUnavailable:
    return ServiceUnavailable("The database does not answer; try again.", retry_after=AWAY_RETRY)
