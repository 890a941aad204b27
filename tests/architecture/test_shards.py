"""Each large table can be distributed: its key is in the primary key and every unique constraint."""

import pytest
from sqlalchemy import Table, UniqueConstraint

import app as application
from core.database import Base

TABLES = sorted(Base.metadata.tables.values(), key=lambda table: table.name)

#: Tables that stay whole, and why they may.
UNDIVIDED = {
    "outbox": "the mock provider's texts, in development only",
    "discovery_epochs": "a row every few months, copied to each shard",
    "directory_changes": "two days of changes, which each host reads whole and in order",
}


def _name(table: Table) -> str:
    return table.name


def test_the_tables_of_every_part_are_seen() -> None:
    """The application imports the models of all parts, so nothing below looks at half of them."""
    assert application.VERSION
    assert len(TABLES) >= 10


@pytest.mark.parametrize("table", TABLES, ids=_name)
def test_each_table_names_its_shard_key(table: Table) -> None:
    """`info["shard_by"]` names a column, or the table is on the short list of undivided ones."""
    assert "shard_by" in table.info
    key = table.info["shard_by"]
    assert (key is None) == (table.name in UNDIVIDED)
    assert key is None or key in table.columns


@pytest.mark.parametrize("table", TABLES, ids=_name)
def test_the_shard_key_is_in_every_unique_key(table: Table) -> None:
    """No uniqueness has to be asked of another shard."""
    key = table.info["shard_by"]
    unique = [set(table.primary_key.columns.keys())]
    unique += [
        set(constraint.columns.keys())
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    ]
    unique += [set(index.columns.keys()) for index in table.indexes if index.unique]
    assert unique[0], "a primary key"
    if key is not None:
        assert all(key in columns for columns in unique)


@pytest.mark.parametrize("table", TABLES, ids=_name)
def test_no_reference_crosses_shards(table: Table) -> None:
    """A foreign key holds the shard keys of both its tables, so both rows are on one shard."""
    for constraint in table.foreign_key_constraints:
        other = constraint.referred_table
        pairs = {(e.parent.name, e.column.name) for e in constraint.elements}
        assert (table.info["shard_by"], other.info["shard_by"]) in pairs
    assert UNDIVIDED.keys() <= Base.metadata.tables.keys()
