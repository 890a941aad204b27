"""What gunicorn loads."""

import sys

from app import create_app
from core.settings import SettingsError

try:
    app = create_app()
except SettingsError as error:
    sys.exit(str(error))

_kith = app.extensions["kith"]
if _kith.settings.maintenance_interval:
    _kith.maintenance.start(_kith.settings.maintenance_interval)
