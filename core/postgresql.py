"""Connections to PostgreSQL: their address, their time-outs, and a commit that was not confirmed.

The time-outs of the server hold as settings of the session, or behind a pooler of each transaction. Beside
them every wait for an answer has an end of its own here, because a server that has vanished ends nothing, and
because PostgreSQL's time-outs do not hold for the wait of a commit for its standbys.
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
#: Of a connection, unless the address says otherwise. A peer that acknowledges nothing for five seconds is
#: gone; the kernel alone would wait for 15 minutes.
DEFAULTS: Mapping[str, str | int] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}
#: With these the server has ended the connection or takes no writes, and another connection may lead to one
#: that does. 08: the connection; 57P: it stops or starts; 25P: idle or too long; 25006, 55000: a standby.
_GONE = re.compile(r"08...|57P..|25P03|25P04|25006|55000")
#: A prepared statement that is there already, or is not: a pooler gave another connection in between.
_PREPARED = ("42P05", "26000")
#: The warning that says that a commit was not confirmed must not be suppressed.
_SESSION = (
    "SELECT set_config('statement_timeout', '{statement}ms', {local}),"
    " set_config('lock_timeout', '{lock}ms', {local}),"
    " set_config('client_min_messages', 'warning', {local})"
)


@dataclass(frozen=True)
class Timeouts:
    """Seconds after which what is waited for is ended."""

    statement: float = 15
    lock: float = 10
    #: A commit waits for the disk, and for standbys that are synchronous.
    commit: float = 8
    #: What the server may take longer by its own clock, and to end what is cancelled.
    grace: float = 2

    def settings(self, *, local: bool) -> str:
        """Give the query that sets them on the server, for the session or for the transaction."""
        return _SESSION.format(
            statement=int(self.statement * 1000),
            lock=int(self.lock * 1000),
            local="true" if local else "false",
        )


class CommitUnconfirmed(psycopg.OperationalError):
    """A commit was not confirmed in time: whether it holds is not known."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which nothing is waited for without end."""

    #: Whether a pooler is in between, which may serve each transaction by another connection.
    pooled = False
    #: None: nothing has an end, as in a migration.
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
        """Connect, and find out what there is in between."""
        named = dict(named)
        # In an address every value is a text.
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
        # A pooler hands out an identification of its own, by which it is asked to cancel.
        self.pooled = pid != self.info.backend_pid
        if timeouts and not self.pooled:
            self.execute(timeouts.settings(local=False))
        self._timeouts = timeouts
        self.autocommit = False

    def bound_transaction(self) -> None:
        """Set the time-outs of the transaction that begins now, where those of the session do not hold."""
        if self.pooled and self._timeouts:
            self.execute(self._timeouts.settings(local=True), prepare=False)

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warned = True

    def commit(self) -> None:
        """Commit.

        Raises CommitUnconfirmed: a commit that waits for a standby and is cancelled, by us or by an
        operator, is answered as a success, with a warning. It holds here, and is lost if the standby
        takes over.
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
        """Wait for an answer; what takes too long is cancelled, and given up if even that is not answered."""
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
    """Read a database's address; of PostgreSQL also with several hosts, as libpq writes it.

    Raises ValueError, whose text says what is wrong and holds nothing of the address.
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
    """See whether the driver can be given what an address says.

    Raises ValueError, whose text says what is wrong and holds no password.
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
    """Make the engine of a database on PostgreSQL.

    prepare: whether statements are prepared; None: unless a pooler is in between. timeouts: the
    time-outs, None for none.
    """
    host, defaults = url.query.get("host", ""), dict(DEFAULTS)
    if isinstance(host, tuple) or "," in host:
        # Of several hosts the one is meant that takes writes, also after a failover.
        defaults["target_session_attrs"] = "read-write"
    # What SQLAlchemy is given here would prevail over the address.
    for name in defaults.keys() & url.query.keys():
        del defaults[name]

    latest: list[tuple[str, str]] = []

    def connect(
        dialect: Dialect, record: object, given: tuple[Any, ...], named: dict[str, Any]
    ) -> BoundedConnection:
        # Where the last connection led is asked first: one that is dead costs its whole time-out.
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
    """Put a host that is among several before the others."""
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
    """Set the time-outs of a transaction that begins, where those of the session do not hold.

    Called, and no event of SQLAlchemy's: with one it would cost every transaction a tenth of its time.
    """
    driver = cast(BoundedConnection, connection.connection.dbapi_connection)
    if not driver.pooled:
        return
    try:
        driver.bound_transaction()
    except psycopg.Error as error:
        # What goes to the driver past SQLAlchemy it does not make an error of its own.
        raise DBAPIError.instance(
            None, None, error, psycopg.Error, connection_invalidated=driver.closed
        ) from error


def _handle_error(context: ExceptionContext) -> None:
    """Have connections replaced that cannot be used any more, though they are open."""
    if is_gone(context.original_exception):
        context.is_disconnect = True


def is_gone(error: BaseException) -> bool:
    """Say whether an error of the driver's means that its connection is good for nothing any more."""
    state = getattr(error, "sqlstate", None)
    if state in _PREPARED:
        log.error("database.pooler", hint="KITH_DATABASE_PREPARED_STATEMENTS=false")
        return True
    return isinstance(state, str) and _GONE.fullmatch(state) is not None
