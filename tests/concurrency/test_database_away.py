"""A PostgreSQL that vanishes, stalls or stops: every wait ends, and nobody is told what is not known."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.database import Database, confirm
from core.database_errors import problem_of
from core.postgresql import Timeouts
from core.problems import OutcomeUnknown, ServiceUnavailable
from tests.postgresql import Server, servers, wait_until
from tests.relay import Relay

#: One process starts the servers for all of them.
pytestmark = pytest.mark.xdist_group("servers")

INSERT = text("INSERT INTO maintenance_leases (name, until) VALUES (:name, '2026-01-01')")
NAMES = text("SELECT name FROM maintenance_leases ORDER BY name")


@pytest.fixture(scope="module")
def make_server() -> Iterator[Callable[..., Server]]:
    """Make servers that may be killed."""
    with servers() as make:
        yield make


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Server]) -> Server:
    """A server by itself."""
    return make_server(name="alone")


def names(database: Database) -> list[str]:
    """Give what was stored."""
    with database.read() as connection:
        return list(connection.scalars(NAMES))


def test_a_link_that_loses_everything_is_given_up_soon(server: Server) -> None:
    """A read and a write each end within their time, and the first after the link is back succeeds."""
    relay = Relay(server.port)
    timeouts = Timeouts(statement=1, grace=0.5)
    database = Database(server.url(relay.port) + "?connect_timeout=2", timeouts=timeouts)
    assert names(database) == []
    relay.cut()
    for use in (database.read, database.write):
        started = time.monotonic()
        with pytest.raises(DBAPIError) as failed, use() as connection:
            connection.execute(text("SELECT 1"))
        assert isinstance(problem_of(failed.value), ServiceUnavailable)
        assert time.monotonic() - started < 8
    relay.mend()
    assert names(database) == []
    database.close()
    relay.close()


@pytest.mark.parametrize("ending", ["cut", "hang_up"])
def test_a_link_that_is_lost_at_a_commit_leaves_it_unknown(server: Server, ending: str) -> None:
    """Whether the server heard of it cannot be known; nothing that was to follow is done."""
    relay, told = Relay(server.port), list[str]()
    timeouts = Timeouts(commit=0.5, grace=0.5)
    database = Database(server.url(relay.port) + "?connect_timeout=2", timeouts=timeouts)
    with pytest.raises(OutcomeUnknown), database.write() as connection:
        connection.execute(INSERT, {"name": ending})
        database.after_commit(connection, lambda: told.append(ending))
        getattr(relay, ending)()
    assert told == []
    # A refusal is none: the server said that nothing was done.
    relay.mend()
    with pytest.raises(DBAPIError), database.write() as connection:
        connection.execute(INSERT, {"name": "twice"})
        connection.execute(INSERT, {"name": "twice"})
    assert "twice" not in names(database)
    database.close()
    relay.close()


def test_a_host_that_is_dead_is_waited_for_once(server: Server) -> None:
    """Of several hosts the one that took the last connection is asked first from then on."""
    dead = Relay(server.port)
    dead.cut()
    database = Database(
        f"postgresql://postgres@127.0.0.1:{dead.port},127.0.0.1:{server.port}/postgres"
        "?connect_timeout=2"
    )
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        assert names(database) is not None
        seconds.append(time.monotonic() - started)
        database.engine.dispose()
    assert seconds[0] >= 1.5 > seconds[1]
    # When that one is gone the others are asked as before.
    with database.read() as held:
        assert held.scalar(text("SELECT inet_server_port()")) == server.port
    database.close()
    dead.close()


def test_a_peer_that_acknowledges_nothing_is_gone_after_five_seconds(server: Server) -> None:
    """The kernel is told so on every connection, unless the address says otherwise."""
    for asked, kept in (("", 5000), ("?tcp_user_timeout=700", 700)):
        database = Database(server.url() + asked)
        with database.read() as connection:
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, psycopg.Connection)
            with socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM) as kernel:
                timeout = kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                idle = kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert (timeout, idle) == (kept, 5)
        database.close()


def test_statements_and_locks_have_an_end(server: Server) -> None:
    """The session's time-outs are set without the startup packet, which poolers refuse."""
    database = Database(server.url())
    for use in (database.read, database.write):
        with use() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "15s"
            assert connection.scalar(text("SHOW lock_timeout")) == "10s"
    database.close()


#: What ends a connection, and the class that psycopg gives it, whichever statement it was under.
ENDINGS = {
    "terminated": "SELECT pg_terminate_backend(pg_backend_pid())",
    "idle in a transaction": "SET LOCAL idle_in_transaction_session_timeout = 50",
    "too long": "SET LOCAL transaction_timeout = 50",
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("bulk", [False, True])
def test_a_connection_that_the_server_closes_is_503(
    server: Server, ending: str, bulk: bool
) -> None:
    """In whichever of psycopg's classes it comes, and also past SQLAlchemy; the next transaction goes on."""
    database = Database(server.url())

    def fail() -> None:
        with database.write() as connection:
            if not bulk:
                connection.execute(text(ENDINGS[ending]))
                time.sleep(0.2)
                connection.execute(text("SELECT 1"))
                return
            driver = connection.connection.cursor()
            try:
                driver.execute(ENDINGS[ending])
                time.sleep(0.2)
                driver.execute("SELECT 1")
            except psycopg.Error as error:
                raise DBAPIError.instance(None, None, error, psycopg.Error) from error

    with pytest.raises(DBAPIError) as failed:
        fail()
    assert isinstance(problem_of(failed.value), ServiceUnavailable)
    assert names(database) == []
    database.close()


def test_a_primary_that_became_a_standby_is_503_and_left(server: Server) -> None:
    """Its connections are not used again: another host of the address may take writes."""
    database = Database(server.url())
    with database.read() as connection:
        before = connection.scalar(text("SELECT pg_backend_pid()"))
    with pytest.raises(DBAPIError) as failed, database.write() as connection:
        connection.execute(text("SET LOCAL transaction_read_only = on"))
        connection.execute(INSERT, {"name": "refused"})
    assert isinstance(problem_of(failed.value), ServiceUnavailable)
    with database.read() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != before
    database.close()


class Pair:
    """A primary whose commits wait for its standby."""

    def __init__(self, make: Callable[..., Server]) -> None:
        self.primary = make()
        self.standby = make(of=self.primary)
        self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        self.primary.ask("SELECT pg_reload_conf()")
        wait_until(
            lambda: self.primary.ask("SELECT sync_state FROM pg_stat_replication LIMIT 1") == "sync"
        )

    def stall(self) -> None:
        """Let the standby vanish: commits wait for it."""
        self.standby.stop()

    def go_on(self) -> None:
        """Have the standby back."""
        self.standby.start()


@pytest.fixture(scope="module")
def pair(make_server: Callable[..., Server]) -> Pair:
    """A primary and its synchronous standby."""
    return Pair(make_server)


def test_a_commit_that_waits_for_a_standby_ends_unknown(pair: Pair) -> None:
    """And so does the answer to whoever repeats it, until the standby has what is told."""
    database, told = Database(pair.primary.url(), timeouts=Timeouts(commit=1)), list[Any]()
    with database.write() as connection:
        connection.execute(INSERT, {"name": "before"})
    pair.stall()
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown), database.write() as connection:
        database.after_commit(connection, lambda: told.append("done"))
        connection.execute(INSERT, {"name": "during"})
    assert time.monotonic() - started < 6
    assert told == []
    # It holds here, and is seen; that is no answer to whoever asks whether it was done.
    assert names(database) == ["before", "during"]
    with pytest.raises(OutcomeUnknown), database.write() as connection:
        assert connection.scalar(text("SELECT count(*) FROM maintenance_leases")) == 2
        confirm(connection)
    pair.go_on()
    with database.write() as connection:
        confirm(connection)
    assert pair.standby.ask("SELECT count(*) FROM maintenance_leases") == 2
    database.close()


def test_a_commit_that_an_operator_cancels_is_unknown(pair: Pair) -> None:
    """PostgreSQL answers it as a success, with a warning."""
    database = Database(pair.primary.url(), timeouts=Timeouts(commit=30))
    pair.stall()
    cancel = (
        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
    canceller = threading.Thread(target=wait_until, args=(lambda: pair.primary.ask(cancel),))
    canceller.start()
    with pytest.raises(OutcomeUnknown), database.write() as connection:
        connection.execute(INSERT, {"name": "cancelled"})
    canceller.join()
    pair.go_on()
    database.close()
