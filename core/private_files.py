"""Files and directories that only the service's user may read: they hold secrets and phone numbers.

New directories are 0700 and new files 0600, whatever the umask. Existing ones lose all rights of others; a
group, such as the backup's, keeps the rights that the operator set.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

#: Files that SQLite writes beside a database, with its rights.
_BESIDE = ("-wal", "-shm", "-journal")


def private_directory(path: Path) -> None:
    """Create a directory and its parents. If it exists and is not shared, remove the rights of others."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    _close_to_others(path)


def private_database(path: Path) -> None:
    """Create the file of a SQLite database before SQLite does, or remove the rights of others."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for file in (path, *(path.with_name(path.name + end) for end in _BESIDE)):
        _close_to_others(file)


def _close_to_others(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    # Leave shared directories (sticky, such as /tmp) and files of other users alone.
    shared = status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid()
    if status.st_mode & stat.S_IRWXO and not shared:
        path.chmod(stat.S_IMODE(status.st_mode) & ~stat.S_IRWXO)
