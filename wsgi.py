"""The WSGI application that gunicorn loads."""

import sys

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as DatabaseBusy

from app import create_app
from core.database_errors import NOT_MIGRATED, describe_error
from core.health import is_migrated
from core.settings import SettingsError

#: With any other exit code gunicorn restarts the worker forever (`Arbiter.WORKER_BOOT_ERROR`).
WORKER_BOOT_ERROR = 3
log = structlog.get_logger()

try:
    app = create_app()
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(WORKER_BOOT_ERROR)

_kith = app.extensions["kith"]
try:
    if is_migrated(_kith.runtime.database):
        # Cache what every registration needs.
        _kith.discovery.service.parameters()
    else:
        log.error("database.unready", error=NOT_MIGRATED)
except (DBAPIError, DatabaseBusy) as error:
    # Serve anyway: the database may come back, and /readyz tells proxies.
    log.error("database.unready", error=describe_error(error) or type(error).__name__)
_kith.start()
