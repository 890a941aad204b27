"""The builder of snapshots: reads the table in the order of digests and writes the file.

One process of a host builds at a time, under a file lock that ends with the process. A worker runs it as
`python -m discovery.snapshot_builder`, so that building costs the worker neither memory nor time.
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
from discovery.digests import DIGEST_SIZE
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
#: Serving comes first.
NICENESS = 10

# The database concatenates a page: row by row Python would take ten times as long.
_SELECT_PAGE_POSTGRESQL = text(
    "SELECT string_agg(digest || uuid_send(account_id), ''::bytea ORDER BY digest)"
    " FROM (SELECT digest, account_id FROM directory_entries"
    " WHERE epoch = :epoch AND digest > :after ORDER BY digest LIMIT :size) AS page"
).columns(records=LargeBinary)
_SELECT_PAGE_SQLITE = text(
    "SELECT group_concat(hex(digest) || account_id, '')"
    " FROM (SELECT digest, account_id FROM directory_entries"
    " WHERE epoch = :epoch AND digest > :after ORDER BY digest LIMIT :size)"
).columns(records=Text)


class HistoryChanged(Exception):
    """A standby took over while a snapshot was built, so its pages are of two histories."""


@dataclass(frozen=True)
class BuildRequest:
    """A request for an epoch's snapshot, unless there is one newer than `replaces`."""

    folder: str
    epoch_id: str
    epoch: int
    #: Number of the marker of the outdated snapshot; 0: there is none.
    replaces: int = 0

    @property
    def path(self) -> Path:
        """The path of the snapshot."""
        return snapshot_path(Path(self.folder), self.epoch_id)


def snapshot_path(folder: Path, epoch_id: str) -> Path:
    """Return the path of an epoch's snapshot."""
    return folder / f"{epoch_id}{SUFFIX}"


def build(
    database: Database,
    request: BuildRequest,
    clock: Callable[[], datetime],
    entropy: Callable[[int], bytes],
    on_progress: Callable[[int], None] = lambda _: None,
) -> bool:
    """Build a snapshot; return False if another process has built it meanwhile.

    Waits while another process builds. on_progress: called with the number of records of each page.
    """
    with _exclusive(Path(request.folder)):
        if _exists(database, request):
            return False
        now = clock()
        with database.write() as connection:
            marker = changes.write_marker(connection, request.epoch, entropy(DIGEST_SIZE), now)
        # In a separate statement: what commits from here on is in the log after this position, whether or
        # not the pages below still see it.
        with database.read() as connection:
            position = changes.position(connection, request.epoch)
        contents = Contents(request.epoch_id, position, marker, int(now.timestamp()))
        write(request.path, contents, _pages(database, request.epoch, marker.history, on_progress))
        for path in request.path.parent.glob(f"{request.epoch_id}.*{FILTER_SUFFIX}"):
            # Workers that still use an older snapshot have its filter mapped.
            if path != filter_path(request.path, marker):
                path.unlink()
    return True


def build_apart(database: Database, request: BuildRequest) -> None:
    """Build a snapshot in another process and wait for it.

    Raises subprocess.CalledProcessError, whose `stderr` says why.
    """
    url = database.url.render_as_string(hide_password=False)
    root = str(Path(__file__).parents[1])
    subprocess.run(
        [sys.executable, "-m", "discovery.snapshot_builder"],
        # Not as an argument: the URL may hold a password, and all users of the host see arguments.
        input=json.dumps({"url": url, "prepare": database.prepare, "request": asdict(request)}),
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Lock the folder, and remove what a killed process left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for draft in folder.glob("*.building"):
            draft.unlink()
        yield


def _exists(database: Database, request: BuildRequest) -> bool:
    try:
        snapshot = Snapshot.open(request.path, request.epoch_id)
        if snapshot.contents.marker.seq <= request.replaces:
            return False
        for _ in snapshot.verify():
            pass
    except SnapshotUnusable:
        return False
    with database.read() as connection:
        return changes.has_marker(connection, snapshot.contents.marker)


def _pages(
    database: Database, epoch: int, history: History, on_progress: Callable[[int], None]
) -> Iterator[bytes]:
    """Yield the records page by page: transactions are short, and the log has the changes between them.

    Raises HistoryChanged.
    """
    statement = _SELECT_PAGE_SQLITE if database.dialect == "sqlite" else _SELECT_PAGE_POSTGRESQL
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
    """Build the snapshot that the standard input requests."""
    os.nice(NICENESS)
    given = json.load(sys.stdin)
    database = Database(given["url"], prepare=given["prepare"])
    build(database, BuildRequest(**given["request"]), lambda: datetime.now(UTC), os.urandom)
    database.close()


if __name__ == "__main__":
    main()
