"""The identity of a database's history: what a process remembers is valid only within one history.

A standby that takes over has the identifier of its primary, and reuses numbers that the lost primary had
given out: ids of transactions, and the numbers in a mailbox of messages that it never received.
"""

from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Text, literal, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from core.database import dialect_of


class History(NamedTuple):
    """One server's history, until a standby takes over or it is restored; both are 0 on SQLite."""

    #: PostgreSQL's `system_identifier`, which standbys share with their primary.
    cluster: int
    #: The timeline of its write-ahead log: another after a promotion, or a recovery to a point in time.
    timeline: int

    @classmethod
    def of(cls, cluster: int, timeline: str) -> "History":
        """Read the values of `columns`."""
        return cls(cluster, int(timeline, 16))


@cache
def columns(dialect: str) -> tuple[ColumnElement[int], ColumnElement[str]]:
    """Return the columns that a statement asks for it with."""
    if dialect == "sqlite":
        return literal(0, BigInteger), literal("0", Text)
    return (
        literal_column("(SELECT system_identifier FROM pg_control_system())", BigInteger),
        # The control file's timeline lags behind a promotion until the next checkpoint; this one does not.
        literal_column("left(pg_walfile_name(pg_current_wal_lsn()), 8)", Text),
    )


def read_history(connection: Connection) -> History:
    """Ask for it; behind a pooler the next statement may find another one."""
    return History.of(*connection.execute(select(*columns(dialect_of(connection)))).one())
