"""Files and directories that only the service's own user may read: they hold secrets and people's numbers.

New ones are 0700 and 0600 whatever the umask. For those that were there already others lose every right; a
group keeps what the operator gave it, a backup's for instance.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

#: What SQLite writes beside a database, with the rights of the database.
_BESIDE = ("-wal", "-shm", "-journal")


def private_directory(path: Path) -> None:
    """Make a directory, and its parents; close one that is open to others, if it is ours alone."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    _close_to_others(path)


def private_database(path: Path) -> None:
    """Make the file of a SQLite database before SQLite does, or close the one that is there to others."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for file in (path, *(path.with_name(path.name + end) for end in _BESIDE)):
        _close_to_others(file)


def _close_to_others(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    # A sticky directory, /tmp for one, is everybody's; what others own is theirs to close.
    shared = status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid()
    if status.st_mode & stat.S_IRWXO and not shared:
        path.chmod(stat.S_IMODE(status.st_mode) & ~stat.S_IRWXO)
