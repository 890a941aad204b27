"""A directory of any size, put into a database past the service, in the order of its digests."""

import sqlite3
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import numpy as np
import numpy.typing as npt

from core.database import Database
from discovery.digests import RECORD_WORDS
from discovery.epochs import FIRST_EPOCH

BATCH = 100_000
#: What a row in PostgreSQL's binary COPY consists of: 3 columns, each with its length before it.
_ROW = np.dtype(
    [
        *(("columns", ">i2"), ("digest_size", ">i4"), ("digest", "V32")),
        *(("epoch_size", ">i4"), ("epoch", ">i2"), ("account_size", ">i4"), ("account", "V16")),
    ]
)
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"

Records = npt.NDArray[np.uint64]


def people(count: int, seed: int = 4) -> Iterator[Records]:
    """Make up so many people: digests are uniform and sorted, accounts whatever they are."""
    chance = np.random.default_rng(seed)
    keys = np.sort(chance.integers(0, 2**64, size=count, dtype=np.uint64))
    for begins in range(0, count, BATCH):
        size = min(BATCH, count - begins)
        batch = chance.integers(0, 2**64, size=(size, RECORD_WORDS), dtype=np.uint64)
        batch[:, 0] = keys[begins : begins + size].byteswap()
        yield batch


def fill(database: Database, batches: Iterator[Records], keep: int) -> Records:
    """Write people into the first epoch; give about so many of them, to look up."""
    kept = []
    write = _fill_sqlite if database.dialect == "sqlite" else _fill_postgresql
    connection = database.engine.raw_connection()
    try:
        for batch in batches:
            write(cast(Any, connection.driver_connection), batch)
            kept.append(batch[:: max(1, len(batch) // max(1, keep // 10))][:keep])
    finally:
        connection.close()
    with database.engine.begin() as analysing:
        analysing.exec_driver_sql("ANALYZE directory_entries")
    return np.concatenate(kept)[:: max(1, sum(map(len, kept)) // keep)]


def _fill_sqlite(connection: sqlite3.Connection, batch: Records) -> None:
    packed = batch.tobytes()
    rows = [
        (packed[at : at + 32], FIRST_EPOCH, UUID(bytes=packed[at + 32 : at + 48]).hex)
        for at in range(0, len(packed), 48)
    ]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO directory_entries VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")


def _fill_postgresql(connection: Any, batch: Records) -> None:
    rows = np.empty(len(batch), _ROW)
    rows["columns"], rows["epoch"] = 3, FIRST_EPOCH
    rows["digest_size"], rows["epoch_size"], rows["account_size"] = 32, 2, 16
    rows["digest"] = np.ascontiguousarray(batch[:, :4]).view("V32")[:, 0]
    rows["account"] = np.ascontiguousarray(batch[:, 4:]).view("V16")[:, 0]
    statement = "COPY directory_entries (digest, epoch, account_id) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_COPY_HEADER + rows.tobytes() + _COPY_END)
    connection.commit()
