"""What is on the disk is for the service's own user, whatever the umask; a group keeps what it was given."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.database import Database
from core.private_files import private_directory
from core.secrets import read_or_create


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """Make files for everybody, unless they are made otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    """Give the rights of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path) -> None:
    """Make a database there, and write into it."""
    database = Database(f"sqlite:///{path}")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE people (number TEXT)")
        found = {file.name: mode(file) for file in path.parent.iterdir()}
    database.close()
    assert found == {"kith.db": 0o600, "kith.db-wal": 0o600, "kith.db-shm": 0o600}


def test_a_new_database_is_private(tmp_path: Path) -> None:
    """It, its log, and the directory that is made for it."""
    write(tmp_path / "data" / "kith.db")
    assert mode(tmp_path / "data") == 0o700


def test_an_older_database_is_closed_to_others(tmp_path: Path) -> None:
    """A group keeps its rights: the operator gave them, to what backs it up."""
    path = tmp_path / "kith.db"
    path.touch()
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    database = Database(f"sqlite:///{path}")
    database.close()
    assert mode(path) == 0o640
    # A directory that was there may be for more than the database.
    assert mode(tmp_path) == 0o755


def test_the_directory_of_the_data_is_closed_to_others(tmp_path: Path) -> None:
    """A new one is 0700, one that was there loses what others had; one that all share stays."""
    new, old, shared = tmp_path / "a" / "new", tmp_path / "old", tmp_path / "shared"
    read_or_create(new / "secret_key", lambda: "secret")
    assert (mode(new), mode(new / "secret_key")) == (0o700, 0o600)
    old.mkdir(0o755)
    private_directory(old)
    assert mode(old) == 0o750
    shared.mkdir()
    shared.chmod(0o1777)
    private_directory(shared)
    assert mode(shared) == 0o1777
