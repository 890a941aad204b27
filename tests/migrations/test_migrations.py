"""Migrations go up, down and up again on both databases, and say exactly what the models say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Inspector, Table, inspect, text

import app as application
from core.database import Base, Database
from tests.databases import alembic_config, new_postgresql_url
from verification.policy.rules import BUCKET_NAMES


@pytest.fixture
def empty(dialect: str, tmp_path: Path) -> Iterator[Connection]:
    """An open connection to a database in which there is nothing yet."""
    # Every part's models are in the metadata once the application is imported.
    assert application.VERSION
    name = f"migrations_{tmp_path.name}".lower()[:60]
    url = f"sqlite:///{tmp_path / 'new.db'}" if dialect == "sqlite" else new_postgresql_url(name)
    database = Database(url)
    with database.engine.connect() as connection:
        yield connection
    database.close()


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")
    connection.commit()


def _downgrade(connection: Connection, revision: str = "base") -> None:
    command.downgrade(alembic_config(connection), revision)
    connection.commit()


def _drift(connection: Connection) -> list[Any]:
    """Give what autogenerate would change; the options are those of migrations/env.py."""
    options = {
        "render_as_batch": connection.dialect.name == "sqlite",
        "compare_type": True,
    }
    return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)


def _tables(connection: Connection) -> set[str]:
    connection.rollback()
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def _shape(connection: Connection) -> dict[str, Any]:
    """Give what the database says of each table, as text that can be compared."""
    inspector: Inspector = inspect(connection)
    return {
        name: (
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)),
            inspector.get_pk_constraint(name),
            sorted(map(_index, inspector.get_indexes(name))),
            sorted(map(str, inspector.get_unique_constraints(name))),
        )
        for name in inspector.get_table_names()
    }


def _index(index: Any) -> str:
    """Write an index; the condition of a partial one is an object that tells only itself apart."""
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": options})


def test_up_down_and_up_again(empty: Connection) -> None:
    """Down leaves no table behind, and the second way up ends where the first did."""
    _upgrade(empty)
    first = _shape(empty)
    assert _tables(empty) == set(Base.metadata.tables)
    _downgrade(empty)
    assert _tables(empty) == set()
    _upgrade(empty)
    assert _shape(empty) == first


def test_each_step_goes_down_and_up(empty: Connection) -> None:
    """Each migration can be taken back alone and applied again."""
    steps = list(ScriptDirectory.from_config(alembic_config(empty)).walk_revisions())
    assert steps
    _upgrade(empty)
    for step in steps:
        before = _shape(empty)
        _downgrade(empty, "-1")
        command.upgrade(alembic_config(empty), step.revision)
        empty.commit()
        assert _shape(empty) == before
        _downgrade(empty, "-1")


def test_no_drift(empty: Connection) -> None:
    """After all migrations autogenerate finds nothing to do."""
    _upgrade(empty)
    assert _drift(empty) == []


def test_drift_would_be_found(empty: Connection) -> None:
    """The comparison is not blind: without one column, index or table it says so."""
    _upgrade(empty)
    for statement, found in (
        ("ALTER TABLE devices DROP COLUMN platform", "add_column"),
        ("DROP INDEX ix_envelopes_expires_at", "add_index"),
        ("DROP TABLE account_numbers", "add_table"),
    ):
        empty.exec_driver_sql(statement)
        assert [change[0] for change in _drift(empty)] == [found]
        empty.rollback()
        assert _drift(empty) == []
        empty.rollback()


def test_the_models_make_the_same_tables(empty: Connection) -> None:
    """A database made from the models is the one that the migrations make."""
    _upgrade(empty)
    migrated = _shape(empty)
    _downgrade(empty)
    Base.metadata.create_all(empty)
    made = _shape(empty)
    migrated.pop("alembic_version")
    made.pop("alembic_version")
    assert made == migrated
    tables: list[Table] = Base.metadata.sorted_tables
    assert {table.name for table in tables} == set(made)


#: The rate limits of 0.1.0 that are called otherwise now, and today's names.
RENAMED_LIMITS = {
    "pin-tries": "pin-attempts",
    "pin-checks": "device-pin-attempts",
    "matrix-key-questions": "matrix-server-key-requests",
    "matrix-unproven": "matrix-unverified",
    "matrix-unproven-network": "matrix-unverified-network",
    "matrix-unproven-wider": "matrix-unverified-subnet",
    "key-takes": "key-fetches",
    "key-takes-of-account": "key-fetches-of-account",
    "groups-made": "group-creations",
    "group-strangers": "group-invitations",
    "messages-to-one": "messages-to-recipient",
    "stranger-messages": "messages-to-new-recipient",
    "strangers": "new-recipients",
    "sends-wider-network": "sends-subnet",
    "sends-reserve-wider-network": "sends-reserve-subnet",
}
UNCHANGED_LIMITS = {"sends", "sends-number", "sends-network", "sends-country", "known-misses"}


def test_counters_of_renamed_limits_go_on_counting(empty: Connection) -> None:
    """An upgrade gives nobody a fresh quota, and a downgrade does not either."""
    command.upgrade(alembic_config(empty), "0024")
    before = {*RENAMED_LIMITS, *UNCHANGED_LIMITS}
    for name in sorted(before):
        empty.execute(
            text(
                "INSERT INTO limits (subject, name, used, until_us) VALUES (:subject, :name, 3, 9)"
            ),
            {"subject": bytes(16), "name": name},
        )
    empty.commit()
    _upgrade(empty)
    names = set(empty.execute(text("SELECT name FROM limits")).scalars())
    assert names == {*RENAMED_LIMITS.values(), *UNCHANGED_LIMITS}
    assert set(BUCKET_NAMES.values()) & names >= {"sends-subnet", "sends-reserve-subnet"}
    _downgrade(empty, "0024")
    assert set(empty.execute(text("SELECT name FROM limits")).scalars()) == before
