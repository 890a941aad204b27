"""The directories that a server writes to, checked before it starts."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.postgresql import read_url
from core.private_files import private_directory
from core.settings import CoreSettings, SettingsError


@contextmanager
def as_settings_error(setting: str, path: Path | None = None) -> Iterator[None]:
    """Turn an OSError into a SettingsError that names the setting and the file, or `path`."""
    try:
        yield
    except OSError as error:
        fault = f"{setting}: {path or error.filename} cannot be used: {error.strerror}"
        raise SettingsError.from_faults([fault]) from None


def require_folders(settings: CoreSettings) -> None:
    """Create the data directory and the one of SQLite's file; raises SettingsError if one is not writable."""
    with as_settings_error("KITH_DATA_DIR", settings.data_dir):
        private_directory(settings.data_dir)
        _write_to(settings.data_dir)
    url = read_url(settings.resolved_database_url)
    if settings.database_url and url.get_backend_name() == "sqlite" and url.database:
        folder = Path(url.database).parent
        with as_settings_error("KITH_DATABASE_URL", folder):
            if not folder.is_dir():
                private_directory(folder)
            _write_to(folder)


def database_setting(settings: CoreSettings) -> str:
    """Return the setting that says where the database is."""
    return "KITH_DATABASE_URL" if settings.database_url else "KITH_DATA_DIR"


def _write_to(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass
