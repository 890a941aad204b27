"""What gunicorn loads."""

import sys
from contextlib import suppress

from sqlalchemy.exc import DBAPIError

from app import create_app
from core.settings import SettingsError

#: With any other exit code gunicorn would start the worker again, for ever (`Arbiter.WORKER_BOOT_ERROR`).
CANNOT_BOOT = 3

try:
    app = create_app()
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(CANNOT_BOOT)

_kith = app.extensions["kith"]
with suppress(DBAPIError):
    # Read once what every registration needs; a database that is away or not migrated is /readyz's to tell.
    _kith.directory.parameters()
_kith.start()
