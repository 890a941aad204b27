"""The directory's rows, asked of the database itself."""

import hashlib
from uuid import UUID

import pytest
from sqlalchemy import insert, text

from core.database import table
from discovery.entries import SELECT_MATCHES_SQLITE, match
from discovery.models import DirectoryEntry

DIGESTS = [hashlib.sha256(str(number).encode()).digest() for number in range(20_000)]


@pytest.fixture
def filled(database):
    """A database with 10,000 people, of which it keeps statistics."""
    with database.write() as connection:
        connection.execute(
            insert(table(DirectoryEntry)),
            [
                {"digest": digest, "epoch": 1, "account_id": UUID(int=number)}
                for number, digest in enumerate(DIGESTS[:10_000])
            ],
        )
        connection.execute(text("ANALYZE directory_entries"))
    return database


def test_a_page_of_any_length_is_matched(filled):
    """From none to more than SQLite has variables, with duplicates and in any order."""
    people = {digest: UUID(int=number) for number, digest in enumerate(DIGESTS[:10_000])}
    for page in ([], DIGESTS[9_999:10_001], DIGESTS[::-7] * 3, DIGESTS * 2):
        expected = {digest: people[digest] for digest in page if digest in people}
        with filled.read() as connection:
            assert match(connection, 1, b"".join(page)) == expected


def test_another_epoch_has_its_own_entries(filled):
    """A digest leads nowhere in an epoch it was not listed in."""
    with filled.read() as connection:
        assert match(connection, 2, b"".join(DIGESTS[:10])) == {}


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_sqlite_never_walks_the_table(filled):
    """With statistics, too, each digest is one descent: no scan, and no filter built from all rows."""
    values = {"epoch": 1, "digests": b"".join(DIGESTS[:2]), "size": 32}
    with filled.read() as connection:
        steps = connection.execute(
            text(f"EXPLAIN QUERY PLAN {SELECT_MATCHES_SQLITE}"), values
        ).all()
    plan = [step.detail for step in steps]
    assert "SEARCH directory_entries USING PRIMARY KEY (digest=? AND epoch=?)" in plan
    assert not [step for step in plan if "BLOOM" in step or step == "SCAN directory_entries"]
