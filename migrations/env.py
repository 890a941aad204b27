"""Runs migrations on the database that the settings name, or on a connection handed over."""

import sys

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from app import VERSION  # noqa: F401 (imports every model)
from core.database import Base, Database, UtcDateTime
from core.directories import as_settings_error, database_setting
from core.settings import SettingsError
from settings import Settings


def render_item(kind: str, item: object, autogen_context: object) -> str | bool:
    """Write our own column type by its name."""
    if kind == "type" and isinstance(item, UtcDateTime):
        autogen_context.imports.add("from core.database import UtcDateTime")  # type: ignore[attr-defined]
        return "UtcDateTime()"
    return False


def run(connection: Connection) -> None:
    """Migrate in one transaction; a lock that others hold is waited for 5 seconds, not for ever."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=render_item,
        compare_type=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        context.run_migrations()


def migrate_what_the_settings_name() -> None:
    """Migrate the database of the settings, with one clear line when that cannot be."""
    try:
        settings = Settings.load()
        with as_settings_error(database_setting(settings)):
            database = Database(
                settings.resolved_database_url,
                prepare=settings.database_prepared_statements,
                timeouts=None,
            )
        with database.engine.connect() as connection:
            run(connection)
            connection.commit()
        database.close()
    except SettingsError as error:
        sys.exit(str(error))
    except OperationalError as error:
        sys.exit(f"The database of KITH_DATABASE_URL does not answer: {error.orig}")


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    migrate_what_the_settings_name()
