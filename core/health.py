"""Routes for operators and developers: health, metrics, the OpenAPI document and its page."""

from functools import cache
from pathlib import Path
from typing import Literal, cast

import flask_openapi3_swagger
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Response, current_app, render_template
from flask_openapi3 import OpenAPI
from prometheus_client import CONTENT_TYPE_LATEST

from core.api import Api
from core.database import Database
from core.database_errors import NOT_MIGRATED, UNMIGRATED_RETRY
from core.metrics import Metrics
from core.parsing import Answer
from core.problems import NotFound, ServiceUnavailable

#: Key of the serialized OpenAPI document in `app.extensions`.
DOCUMENT = "openapi.json"
MIGRATIONS = Path(__file__).parents[1] / "migrations"

#: Swagger UI, served from its package: nothing is fetched from elsewhere.
docs_assets = Blueprint(
    "docs_assets",
    __name__,
    static_folder=str(Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"),
    static_url_path="/docs/assets",
)


class HealthAnswer(Answer):
    """The process answers."""

    status: str = "ok"


class ReadyAnswer(HealthAnswer):
    """The service is ready, maybe only for requests that free space."""

    #: `reserve` while only the reserve of the disk is left: requests that only add get `storage-full`.
    storage: Literal["ok", "reserve"] = "ok"


_WELL = HealthAnswer()


@cache
def _newest() -> frozenset[str]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return frozenset(ScriptDirectory.from_config(config).get_heads())


def is_migrated(database: Database) -> bool:
    """Return whether the tables are those of this version, neither older nor newer."""
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    return set(current) == _newest()


def health_api(database: Database, registry: Metrics) -> Api:
    """Build the routes."""
    api = Api("operations", __name__, description="Health and metrics", url_prefix=None)
    api.template_folder = "templates"

    @api.operation("GET", "/livez", answer=HealthAnswer)
    def livez() -> HealthAnswer:
        """Return 200 while the process answers."""
        return _WELL

    @api.operation("GET", "/readyz", answer=ReadyAnswer)
    def readyz() -> ReadyAnswer:
        """Return 200 if the database answers and has the tables of this version.

        A full disk does not matter: requests that free space must still arrive.
        """
        if not is_migrated(database):
            raise ServiceUnavailable(NOT_MIGRATED, retry_after=UNMIGRATED_RETRY)
        return ReadyAnswer(storage="reserve" if database.storage.low() else "ok")

    @api.operation(
        "GET",
        "/metrics",
        answer={"description": "Prometheus text format", "content": {"text/plain": {}}},
        problems=(NotFound,),
    )
    def metrics() -> Response:
        """Return the metrics; keep this path inside your network, or give it its own port."""
        return Response(registry.render(), content_type=CONTENT_TYPE_LATEST)

    @api.operation(
        "GET",
        "/v1/openapi.json",
        answer={"description": "OpenAPI 3.1", "content": {"application/json": {}}},
    )
    def openapi() -> Response:
        """Return the OpenAPI document of this API."""
        app = cast(OpenAPI, current_app)
        if DOCUMENT not in app.extensions:
            # All routes exist before the first request; writing the document takes a tenth of a second.
            app.extensions[DOCUMENT] = app.json.dumps(app.api_doc).encode()
        return Response(app.extensions[DOCUMENT], mimetype="application/json")

    @api.operation("GET", "/docs", answer={"description": "A page", "content": {"text/html": {}}})
    def docs() -> Response:
        """Return the page of the OpenAPI document."""
        return Response(render_template("docs.html"), mimetype="text/html")

    return api
