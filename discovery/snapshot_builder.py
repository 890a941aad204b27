"""Building snapshots: the table is read in the order of its digests and written as a file.

Owns that one process of a host builds at a time, by a lock on a file that ends with the process. Run as
`python -m discovery.snapshot_builder` it is the process that a worker starts, so that building takes the
worker neither memory nor time.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import LargeBinary, Text, text

from core.database import Database
from core.database_history import History, read_history
from discovery import changes
from discovery.hashes import DIGEST_SIZE
from discovery.snapshot import (
    FILTER_SUFFIX,
    RECORD_SIZE,
    SUFFIX,
    Contents,
    Snapshot,
    SnapshotUnusable,
    filter_path,
    write,
)

PAGE_SIZE = 50_000
#: What a worker serves comes first.
NICENESS = 10

# The database puts a page together: a row at a time would cost Python ten times as long.
_PAGE_POSTGRESQL = text(
    "SELECT string_agg(digest || uuid_send(account_id), ''::bytea ORDER BY digest)"
    " FROM (SELECT digest, account_id FROM directory_entries"
    " WHERE epoch = :epoch AND digest > :after ORDER BY digest LIMIT :size) AS page"
).columns(records=LargeBinary)
_PAGE_SQLITE = text(
    "SELECT group_concat(hex(digest) || account_id, '')"
    " FROM (SELECT digest, account_id FROM directory_entries"
    " WHERE epoch = :epoch AND digest > :after ORDER BY digest LIMIT :size)"
).columns(records=Text)


class HistoryChanged(Exception):
    """A standby took over while a snapshot was built: its pages are of two histories."""


@dataclass(frozen=True)
class BuildRequest:
    """What is to be built: the epoch's snapshot, unless there is one newer than `replaces`."""

    directory: str
    epoch_id: str
    epoch: int
    #: Number of the anchor of the snapshot that is too old; 0: there was none.
    replaces: int = 0
    with_filter: bool = False

    @property
    def path(self) -> Path:
        """Where the snapshot is."""
        return snapshot_path(Path(self.directory), self.epoch_id)


def snapshot_path(directory: Path, epoch_id: str) -> Path:
    """Say where the snapshot of an epoch is."""
    return directory / f"{epoch_id}{SUFFIX}"


def build(
    database: Database,
    order: BuildRequest,
    clock: Callable[[], datetime],
    entropy: Callable[[int], bytes],
    on_progress: Callable[[int], None] = lambda _: None,
) -> bool:
    """Build a snapshot; False when another process has built it meanwhile.

    Waits for whoever else is building. on_progress: told how many people each page of the table held.
    """
    with _alone(Path(order.directory)):
        if _is_there(database, order):
            return False
        now = clock()
        with database.write() as connection:
            anchor = changes.write_marker(connection, order.epoch, entropy(DIGEST_SIZE), now)
        # In a statement of its own: what commits from here on is in the log behind this position,
        # whether the pages below still see it or not.
        with database.read() as connection:
            position = changes.position(connection, order.epoch)
        contents = Contents(order.epoch_id, position, anchor, int(now.timestamp()))
        pages = _pages(database, order.epoch, anchor.history, on_progress)
        write(order.path, contents, pages, with_filter=order.with_filter)
        for path in order.path.parent.glob(f"{order.epoch_id}.*{FILTER_SUFFIX}"):
            # Whoever still answers from an older snapshot has its filter mapped.
            if path != filter_path(order.path, anchor):
                path.unlink()
    return True


def build_apart(database: Database, order: BuildRequest) -> None:
    """Build a snapshot in a process of its own and wait for it.

    Raises subprocess.CalledProcessError, whose `stderr` says why.
    """
    url = database.url.render_as_string(hide_password=False)
    root = str(Path(__file__).parents[1])
    subprocess.run(
        [sys.executable, "-m", "discovery.snapshot_builder"],
        # Not as an argument: the address may hold a password, and arguments are shown to all.
        input=json.dumps({"url": url, "prepare": database.prepare, "order": asdict(order)}),
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory; what a process that was killed left in it is removed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for draft in directory.glob("*.building"):
            draft.unlink()
        yield


def _is_there(database: Database, order: BuildRequest) -> bool:
    try:
        snapshot = Snapshot.open(order.path, order.epoch_id)
        if snapshot.contents.anchor.seq <= order.replaces:
            return False
        if order.with_filter != (snapshot.bloom is not None):
            return False
        for _ in snapshot.verify():
            pass
    except SnapshotUnusable:
        return False
    with database.read() as connection:
        return changes.holds(connection, snapshot.contents.anchor)


def _pages(
    database: Database, epoch: int, history: History, on_progress: Callable[[int], None]
) -> Iterator[bytes]:
    """Read the directory page by page: no transaction is long, and the log has what changes between.

    Raises HistoryChanged.
    """
    statement = _PAGE_SQLITE if database.dialect == "sqlite" else _PAGE_POSTGRESQL
    after = b""
    while True:
        with database.read() as connection:
            records = connection.execute(
                statement, {"epoch": epoch, "after": after, "size": PAGE_SIZE}
            ).scalar_one()
            if read_history(connection) != history:
                raise HistoryChanged
        if not records:
            return
        page = bytes.fromhex(records) if isinstance(records, str) else records
        after = page[-RECORD_SIZE:][:DIGEST_SIZE]
        on_progress(len(page) // RECORD_SIZE)
        yield page


def main() -> None:
    """Build what the standard input orders."""
    os.nice(NICENESS)
    told = json.load(sys.stdin)
    database = Database(told["url"], prepare=told["prepare"])
    build(database, BuildRequest(**told["order"]), lambda: datetime.now(UTC), os.urandom)
    database.close()


if __name__ == "__main__":
    main()
