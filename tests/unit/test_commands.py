"""Operator commands whose database cannot be used: one line in words, and exit 1."""

import socket
from pathlib import Path

import pytest
from click.testing import Result
from flask_openapi3 import OpenAPI

from app import Ports, create_app
from core.commands import CommandGroup
from core.database import Database
from core.storage import RemoteStorage
from settings import Settings
from tests.databases import new_postgresql_url

NUMBER = "+4915112345678"
COMMANDS = [
    ("maintenance", "run"),
    ("tokens", "list-services"),
    ("tokens", "revoke-service", "947c1d22-dba0-4f39-a2ce-cd259b7cc039"),
    ("devices", "list", NUMBER),
    ("devices", "revoke", NUMBER, "--all"),
    ("policy", "explain", NUMBER),
    ("policy", "replay", "--policy", "verification/policy/default.toml"),
    ("verification", "report"),
    ("discovery", "epochs"),
    ("discovery", "rotate"),
    ("discovery", "rebuild"),
    ("discovery", "budget", NUMBER),
]


def application(tmp_path: Path, url: str) -> OpenAPI:
    """Make the application on a database of this address."""
    return create_app(Settings(data_dir=tmp_path, database_url=url))


def run(app: OpenAPI, *arguments: str) -> Result:
    """Run a command; what it does not catch is raised."""
    done = app.test_cli_runner().invoke(args=arguments, catch_exceptions=False)
    app.extensions["kith"].runtime.database.close()
    return done


def test_every_group_is_one_that_explains(app: OpenAPI) -> None:
    """Ours, that is: flask's own do not use the database."""
    ours = {name for name, *_ in COMMANDS}
    groups = {name: group for name, group in app.cli.commands.items() if name in ours}
    assert set(groups) == ours
    assert all(isinstance(group, CommandGroup) for group in groups.values())
    assert set(app.cli.commands) - ours <= {"openapi"}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_database_without_tables(tmp_path: Path, dialect: str, arguments: tuple[str]) -> None:
    """It is said what to run, on an empty folder too."""
    url = (
        new_postgresql_url("kith_commands")
        if dialect == "postgresql"
        else f"sqlite:///{tmp_path}/new.db"
    )
    done = run(application(tmp_path, url), *arguments)
    assert done.exit_code == 1
    told = "Error: The database is not migrated: run alembic upgrade head.\n"
    assert done.stderr.endswith(told)
    assert "Traceback" not in done.stderr


def test_postgresql_is_away(tmp_path: Path) -> None:
    """Nobody listens at its address; the password is not repeated."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"postgresql+psycopg://kith:hunter2@127.0.0.1:{port}/kith"
    done = run(application(tmp_path, url), "tokens", "list-services")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: The database of KITH_DATABASE_URL does not answer: ")
    assert str(port) in line
    assert "hunter2" not in done.output


def test_it_is_no_database(tmp_path: Path) -> None:
    """A file that SQLite cannot read."""
    path = tmp_path / "kith.db"
    path.write_text("not a database, though long enough to be looked at\n" * 100)
    done = run(application(tmp_path, f"sqlite:///{path}"), "discovery", "epochs")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: The database of KITH_DATABASE_URL does not answer: file is not a database\n"
    )


def test_the_disk_is_full(database_url: str, tmp_path: Path) -> None:
    """A refusal of the service is told in its own words."""
    storage = RemoteStorage()
    storage.note_full()
    database = Database(database_url, storage=storage)
    app = create_app(
        Settings(data_dir=tmp_path, database_url=database_url), Ports(database=database)
    )
    done = run(app, "discovery", "rotate")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Nothing can be stored until the operator makes room")
