"""The start of the real server with what cannot be used: said in words, before it says where it answers."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.databases import ROOT

PATIENCE = 60


def begin(tmp_path: Path, **settings: str) -> subprocess.Popen[str]:
    """Start it as operators do."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    given = {"KITH_DATA_DIR": str(tmp_path / "data"), "KITH_STORAGE_RESERVE_BYTES": "0"}
    return subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
        cwd=ROOT,
        env=inherited | given | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def refused(tmp_path: Path, **settings: str) -> list[str]:
    """Give what a start says that ends at once."""
    process = begin(tmp_path, **settings)
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert "Kith answers" not in told
    return told.splitlines()


def free_port() -> str:
    """Find a port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    """A file in its place is left as it is; what the kernel refuses is told in its words."""
    file = tmp_path / "file"
    file.touch(mode=0o644)
    for folder, reason in (
        (str(file), "Not a directory"),
        ("/proc/kith", "No such file or directory"),
    ):
        _, line = refused(tmp_path, KITH_DATA_DIR=folder)
        assert line == f"  - KITH_DATA_DIR: {folder} cannot be used: {reason}"
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_folder_of_the_database_that_cannot_be(tmp_path: Path) -> None:
    """It is told by its own setting."""
    _, line = refused(tmp_path, KITH_DATABASE_URL="sqlite:////proc/kith/kith.db")
    assert line.startswith("  - KITH_DATABASE_URL: /proc/kith cannot be used: ")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Of requests or metrics: it is said which setting changes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = str(listener.getsockname()[1])
        for name, others in (("KITH_PORT", {}), ("KITH_METRICS_PORT", {"KITH_PORT": free_port()})):
            (line,) = refused(tmp_path, **others, **{name: taken})
            assert line == (
                f"Kith cannot start: port {taken} is taken: end what listens there, or set"
                f" {name} to another port."
            )


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    """Nobody waits for it."""
    (line,) = refused(tmp_path, KITH_HOST="192.0.2.1", KITH_PORT=free_port())
    assert line == "Kith cannot start: 192.0.2.1 is no address of this machine: set KITH_HOST."


def test_commands_and_migrations_tell_of_it_too() -> None:
    """Whoever comes before the server."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KITH_")},
        "KITH_DATA_DIR": "/proc/kith",
    }
    for command in (
        ("flask", "--app", "app", "maintenance", "run"),
        ("alembic", "upgrade", "head"),
    ):
        done = subprocess.run(
            [Path(sys.executable).with_name(command[0]), *command[1:]],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "KITH_DATA_DIR: /proc/kith" in done.stderr
        assert "Traceback" not in done.stderr


def test_all_files_are_told_at_once_with_their_settings(tmp_path: Path) -> None:
    """A language without texts among them."""
    told = "\n".join(
        refused(
            tmp_path,
            KITH_DEFAULT_LOCALE="xx",
            KITH_MATRIX_TERMS_FILE="/nope",
            KITH_POLICY_FILE="/nope",
            KITH_ROUTING_FILE="/nope",
        )
    )
    assert "KITH_DEFAULT_LOCALE: there is no catalogue for xx" in told
    for setting in ("KITH_MATRIX_TERMS_FILE", "KITH_POLICY_FILE", "KITH_ROUTING_FILE"):
        assert (
            f"Kith cannot start with the file of {setting}:\n"
            "  - /nope: cannot be read: No such file or directory" in told
        )


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]")]
)
def test_a_database_without_tables(tmp_path: Path, host: str, shown: str) -> None:
    """The log says in one line what to run, callers are told too; IPv6 is written either way."""
    port = free_port()
    process = begin(tmp_path, KITH_HOST=host, KITH_PORT=port)
    try:
        connection = _connect(host.strip("[]"), int(port))
        connection.request("GET", "/v1/discovery/parameters", headers={"Authorization": "Bearer x"})
        connection.getresponse().read()
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        assert answer.status == 503
        assert b"run alembic upgrade head" in answer.read()
        connection.close()
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=PATIENCE)
    assert f"Kith answers at http://{shown}:{port}\n" in told
    (line,) = [line for line in told.splitlines() if '"database.unready"' in line]
    assert "The database is not migrated: run alembic upgrade head." in line
    assert "Traceback" not in told
    assert all(len(line) < 500 for line in told.splitlines())


def _connect(host: str, port: int) -> http.client.HTTPConnection:
    ends = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        try:
            connection.connect()
        except ConnectionError:
            assert time.monotonic() < ends
            time.sleep(0.1)
        else:
            return connection
