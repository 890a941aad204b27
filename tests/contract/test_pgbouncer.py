"""Behind PgBouncer, Debian's, in transaction mode: every journey works, and time-outs hold."""

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from core.database import Database
from core.database_errors import problem_of
from core.postgresql import Timeouts
from core.problems import ServiceUnavailable
from tests.conftest import MakeApp, Person
from tests.debian import unpack
from tests.postgresql import Server, free_port, ordinary_user, servers, wait_until

#: One process starts the servers for all of them.
pytestmark = pytest.mark.xdist_group("servers")

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own."""
    with servers() as make:
        yield make()


@contextmanager
def pgbouncer(server: Server) -> Iterator[int]:
    """Run PgBouncer before a server; gives its port."""
    engine, port = unpack("pgbouncer"), free_port()
    with tempfile.NamedTemporaryFile("w", dir="/tmp", suffix=".ini") as file:
        file.write(CONFIGURATION.format(server=server.port, port=port))
        file.flush()
        Path(file.name).chmod(0o644)
        process = subprocess.Popen(
            [engine.program("pgbouncer"), "--quiet", file.name],
            env=engine.environment,
            user=ordinary_user(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: _answers(port))
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _answers(port: int) -> bool:
    try:
        psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="module")
def pooler_url(server: Server) -> Iterator[str]:
    """The address of the database behind PgBouncer."""
    with pgbouncer(server) as port:
        yield server.url(port)


@pytest.fixture
def database_url(pooler_url: str) -> str:
    """What the application and its people are made on."""
    return pooler_url


def test_a_journey_works_behind_it(
    client: object, register: Callable[..., Person], make_app: MakeApp
) -> None:
    """More often than statements are prepared after, over connections that serve each of them in turn."""
    for n in range(8):
        register(f"+4915112345{n:03d}")


def test_it_is_recognised(pooler_url: str, server: Server) -> None:
    """Nothing is prepared, unless the settings say that it may be; without a pooler it is the other way."""
    for url, prepare, prepares in (
        (pooler_url, None, False),
        (pooler_url, True, True),
        (server.url(), None, True),
        (server.url(), False, False),
        (server.url() + "?prepare_threshold=none", None, False),
        (server.url() + "?prepare_threshold=0", None, True),
    ):
        database = Database(url, prepare=prepare)
        with database.read() as connection:
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, psycopg.Connection)
            assert (driver.prepare_threshold is not None) == prepares
            if url.endswith("=0"):
                assert driver.prepare_threshold == 0
        database.close()


def test_prepared_statements_behind_it_are_503_and_named(pooler_url: str) -> None:
    """Whoever has them prepared nevertheless gets no 500, and the log says what to set."""
    database = Database(pooler_url + "?prepare_threshold=0", prepare=True)
    with pytest.raises(DBAPIError) as failed, contextlib.ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(database.engine.connect())
            connection.execute(text("SELECT 1"))
            connection.commit()
    assert isinstance(problem_of(failed.value), ServiceUnavailable)
    database.close()


def test_time_outs_hold_behind_it(pooler_url: str, server: Server) -> None:
    """Of a transaction on the server; of a single read, which has none there, in the driver."""
    timeouts = Timeouts(statement=0.5, lock=0.3, grace=0.5)
    database = Database(pooler_url, timeouts=timeouts)
    for use, seconds in ((database.write, 0.9), (database.read, 3.0)):
        started = time.monotonic()
        with pytest.raises(OperationalError) as failed, use() as connection:
            connection.execute(text("SELECT pg_sleep(10)"))
        assert isinstance(failed.value.orig, psycopg.errors.QueryCanceled)
        assert time.monotonic() - started < seconds
    # Nothing is left on the connections of others.
    with psycopg.connect(f"host=127.0.0.1 port={database.url.port} user=postgres") as other:
        assert other.execute("SHOW statement_timeout").fetchone() == ("0",)
    database.close()


def test_a_lock_is_waited_for_only_so_long(pooler_url: str) -> None:
    """As without a pooler."""
    database = Database(pooler_url, timeouts=Timeouts(lock=0.3))
    lease = text("INSERT INTO maintenance_leases (name, until) VALUES ('held', '2026-01-01')")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write() as connection:
            connection.execute(lease)
            entered.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(20)
    with pytest.raises(OperationalError) as failed, database.write() as connection:
        connection.execute(lease)
    leave.set()
    holder.join()
    assert isinstance(failed.value.orig, psycopg.errors.LockNotAvailable)
    database.close()
