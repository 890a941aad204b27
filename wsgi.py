"""What gunicorn loads."""

import sys
from contextlib import suppress

from sqlalchemy.exc import DBAPIError

from app import create_app
from core.settings import SettingsError

try:
    app = create_app()
except SettingsError as error:
    sys.exit(str(error))

_kith = app.extensions["kith"]
with suppress(DBAPIError):
    # Read once what every registration needs; a database that is away or not migrated is /readyz's to tell.
    _kith.directory.parameters()
if _kith.settings.maintenance_interval:
    _kith.maintenance.start(_kith.settings.maintenance_interval)
_kith.keeper.start()
