"""Connections to PostgreSQL: addresses, time-outs, and unconfirmed commits.

The server's time-outs are set for the session, or behind a pooler for each transaction. Every wait also has
a time-out here: a vanished server enforces none, and a commit that waits for standbys has none.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import psycopg
import structlog
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger()

_Result = TypeVar("_Result")
#: Connection parameters, unless the address sets them. A peer that acknowledges nothing for five seconds is
#: gone; the kernel alone would wait 15 minutes.
DEFAULTS: Mapping[str, str | int] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}
#: SQLSTATEs that replace the connection: the server ended it or is read-only; a new one may reach the
#: primary. 08: connection; 57P: shutdown or start; 25P: idle or too long; 25006, 55000: standby.
_GONE = re.compile(r"08...|57P..|25P03|25P04|25006|55000")
#: A prepared statement exists already, or is missing: a pooler switched the connection.
_PREPARED = ("42P05", "26000")
#: Warnings are needed: one reports an unconfirmed commit.
_SESSION = (
    "SELECT set_config('statement_timeout', '{statement}ms', {local}),"
    " set_config('lock_timeout', '{lock}ms', {local}),"
    " set_config('client_min_messages', 'warning', {local})"
)


@dataclass(frozen=True)
class Timeouts:
    """Time-outs in seconds."""

    statement: float = 15
    lock: float = 10
    #: A commit waits for the disk and for synchronous standbys.
    commit: float = 8
    #: Extra time for the server's own time-outs, and for a cancelled statement to end.
    grace: float = 2

    def settings(self, *, local: bool) -> str:
        """Return the query that sets them on the server, for the session or the transaction."""
        return _SESSION.format(
            statement=int(self.statement * 1000),
            lock=int(self.lock * 1000),
            local="true" if local else "false",
        )


class CommitUnconfirmed(psycopg.OperationalError):
    """A commit was not confirmed in time; its outcome is unknown."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which every wait has a time-out."""

    #: Whether a pooler is in between. It may use another connection for each transaction.
    pooled = False
    #: None: no time-outs, as in a migration.
    _timeouts: Timeouts | None = None
    _warned = _cancelled = _commits = False

    @classmethod
    def open(
        cls,
        given: tuple[Any, ...],
        named: Mapping[str, Any],
        *,
        prepare: bool | None,
        timeouts: Timeouts | None,
    ) -> "BoundedConnection":
        """Connect, and detect a pooler."""
        named = dict(named)
        # In an address every value is text.
        threshold = named.pop("prepare_threshold", "5")
        connection = cls.connect(*given, **named)
        try:
            connection._set_up(timeouts)
        except BaseException:
            connection.close()
            raise
        if threshold != "none" and (not connection.pooled if prepare is None else prepare):
            connection.prepare_threshold = int(threshold)
        return connection

    def _set_up(self, timeouts: Timeouts | None) -> None:
        self.add_notice_handler(self._notice)
        self.prepare_threshold = None
        self.autocommit = True
        (pid,) = self.execute("SELECT pg_backend_pid()").fetchone() or (None,)
        # A pooler reports a process id of its own, for cancel requests.
        self.pooled = pid != self.info.backend_pid
        if timeouts and not self.pooled:
            self.execute(timeouts.settings(local=False))
        self._timeouts = timeouts
        self.autocommit = False

    def bound_transaction(self) -> None:
        """Set the time-outs of a new transaction if those of the session do not apply."""
        if self.pooled and self._timeouts:
            self.execute(self._timeouts.settings(local=True), prepare=False)

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warned = True

    def commit(self) -> None:
        """Commit.

        Raises CommitUnconfirmed. If a commit waits for a standby and we or an operator cancel it, PostgreSQL
        reports success with a warning. The primary has the commit; it is lost if the standby takes over.
        """
        self._warned = self._cancelled = False
        self._commits = True
        try:
            super().commit()
        finally:
            self._commits = False
        if self._warned or self._cancelled:
            raise CommitUnconfirmed("the commit was not confirmed in time")

    def wait(
        self, gen: PQGen[_Result], interval: float = 0.1, timeout: float | None = None
    ) -> _Result:
        """Wait for the server; cancel what takes too long, and close the connection if that fails."""
        timeouts = self._timeouts
        if timeout is not None or timeouts is None:
            return super().wait(gen, interval, timeout)
        try:
            bound = timeouts.commit if self._commits else timeouts.statement + timeouts.grace
            return super().wait(gen, interval, bound)
        except psycopg.OperationalError:
            if not self._waits():
                raise
        self._cancelled = True
        with contextlib.suppress(psycopg.Error):
            self.cancel_safe(timeout=timeouts.grace)
        try:
            return super().wait(gen, interval, timeouts.grace)
        except psycopg.OperationalError:
            if self._waits():
                self.close()
            raise

    def _waits(self) -> bool:
        return not self.closed and self.info.transaction_status == TransactionStatus.ACTIVE


def read_url(text: str) -> URL:
    """Return a parsed database address; for PostgreSQL it may have several hosts, as in libpq.

    Raises ValueError with a reason that shows nothing of the address.
    """
    several = re.fullmatch(
        r"(postgresql(?:\+\w+)?://(?:[^/?#]*@)?)([^/?#@]*,[^/?#@]*)([/?].*)?", text
    )
    hosts: list[str] = []
    if several:
        before, listed, after = several.groups()
        hosts = listed.split(",")
        text = before + (after or "")
    try:
        url = make_url(text)
    except Exception:
        raise ValueError("it cannot be read as an address") from None
    if hosts:
        pairs = [_host_and_port(host) for host in hosts]
        url = url.update_query_dict(
            {
                "host": ",".join(host for host, _ in pairs),
                "port": ",".join(port for _, port in pairs),
            }
        )
    return url


def _host_and_port(text: str) -> tuple[str, str]:
    matched = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(?::(\d{1,5}))?", text)
    if not matched:
        raise ValueError("of several hosts each is written as host or host:port")
    return matched[1].strip("[]"), matched[2] or "5432"


def check_url(url: URL) -> None:
    """Check that the driver accepts the parameters of an address.

    Raises ValueError with a reason that shows no password.
    """
    dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
    _, given = dialect.create_connect_args(url)
    given = dict(given)
    threshold = given.pop("prepare_threshold", "0")
    if threshold != "none" and not threshold.isdigit():
        raise ValueError("prepare_threshold is a number, or none")
    try:
        make_conninfo(**given)
    except psycopg.ProgrammingError as error:
        raise ValueError(str(error).strip()) from None
    for name in DEFAULTS.keys() & given.keys():
        if not str(given[name]).isdigit():
            raise ValueError(f"{name} is a number")


def make_engine(url: URL, *, prepare: bool | None, timeouts: Timeouts | None) -> Engine:
    """Return the engine of a PostgreSQL database.

    prepare: whether to prepare statements; None: unless a pooler is in between. timeouts: None for none.
    """
    host, defaults = url.query.get("host", ""), dict(DEFAULTS)
    if isinstance(host, tuple) or "," in host:
        # Use the host that accepts writes, also after a failover.
        defaults["target_session_attrs"] = "read-write"
    # Parameters passed here would override the address.
    for name in defaults.keys() & url.query.keys():
        del defaults[name]

    latest: list[tuple[str, str]] = []

    def connect(
        dialect: Dialect, record: object, given: tuple[Any, ...], named: dict[str, Any]
    ) -> BoundedConnection:
        # Try the host of the last connection first: a dead one costs a whole time-out.
        named = _begin_with(latest, named)
        connection = BoundedConnection.open(given, named, prepare=prepare, timeouts=timeouts)
        latest[:] = [(connection.info.host, str(connection.info.port))]
        return connection

    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=20,
        max_overflow=20,
        pool_timeout=10,
        pool_recycle=1800,
        connect_args=defaults,
    )
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "handle_error", _handle_error)
    return engine


def _begin_with(first: Sequence[tuple[str, str]], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the connection parameters with the last used host first."""
    hosts = str(named.get("host", "")).split(",")
    ports = str(named.get("port", "")).split(",")
    pairs = list(zip(hosts, ports, strict=False))
    if len(hosts) != len(ports) or len(pairs) < 2:
        return dict(named)
    pairs.sort(key=lambda pair: pair not in first)
    return dict(named) | {
        "host": ",".join(host for host, _ in pairs),
        "port": ",".join(port for _, port in pairs),
    }


def bound_transaction(connection: Connection) -> None:
    """Set the time-outs of a new transaction if those of the session do not apply.

    This is no SQLAlchemy event: an event would cost every transaction a tenth of its time.
    """
    driver = cast(BoundedConnection, connection.connection.dbapi_connection)
    if not driver.pooled:
        return
    try:
        driver.bound_transaction()
    except psycopg.Error as error:
        # SQLAlchemy does not wrap errors of direct driver calls.
        raise DBAPIError.instance(
            None, None, error, psycopg.Error, connection_invalidated=driver.closed
        ) from error


def _handle_error(context: ExceptionContext) -> None:
    """Replace connections that are open but unusable."""
    if is_gone(context.original_exception):
        context.is_disconnect = True


def is_gone(error: BaseException) -> bool:
    """Return whether a driver error means that its connection is unusable."""
    state = getattr(error, "sqlstate", None)
    if state in _PREPARED:
        log.error(
            "database.prepared_statement_lost", hint="KITH_DATABASE_PREPARED_STATEMENTS=false"
        )
        return True
    return isinstance(state, str) and _GONE.fullmatch(state) is not None
