"""Registrations while others look up: one transaction each, at a steady pace, from another process.

Run as `python -m bench.arrivals`. It lists numbers as a registration does, with the real statements,
and prints each digest when its transaction has committed: from then on every lookup must find it.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

from core.database import Database
from discovery import entries
from discovery.epochs import FIRST_EPOCH

#: Whose commits the database may put together, as those of many workers.
AT_ONCE = 32


def main() -> None:
    """Arrive for ever; the address of the database and how many a second are the arguments."""
    database, pace = Database(sys.argv[1]), float(sys.argv[2])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            pool.submit(arrive, database, pace / AT_ONCE)


def arrive(database: Database, pace: float) -> None:
    """Arrive one after the other, so many a second."""
    begun, arrived = time.perf_counter(), 0
    while True:
        ahead = arrived / pace - (time.perf_counter() - begun)
        if ahead > 0:
            time.sleep(ahead)
        digest = os.urandom(32)
        with database.write() as connection:
            entries.upsert(connection, FIRST_EPOCH, digest, uuid4(), datetime.now(UTC))
        arrived += 1
        # One write, so that the lines of two threads do not mix.
        os.write(sys.stdout.fileno(), digest.hex().encode() + b"\n")


if __name__ == "__main__":
    main()
