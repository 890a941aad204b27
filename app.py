"""The application: the parts of the service, composed."""

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog
from argon2 import PasswordHasher
from flask_openapi3 import Info, OpenAPI
from flask_openapi3.types import SecuritySchemesDict

from core import idempotency, logs, middleware, paths
from core.commands import maintenance_commands
from core.database import Database
from core.directories import as_settings_error, database_setting
from core.health import docs_assets, health_api
from core.host_resolver import resolve
from core.maintenance import Job, Maintenance
from core.metrics import Metrics
from core.name_resolver import Resolve
from core.problems import ProblemDocument
from core.requester import RequesterResolver
from core.runtime import Part, Runtime
from core.secrets import load_keyring
from discovery.wiring import Discovery
from interop.camara.wiring import Camara
from interop.matrix.wiring import Matrix
from messaging.keys.device_keys import signed_by_device
from messaging.wiring import Messaging
from settings import Settings
from sms.provider import Provider
from sms.wiring import Sms
from tokens.wiring import Tokens
from verification.wiring import Verifications

VERSION = str(
    tomllib.loads((Path(__file__).parent / "pyproject.toml").read_text())["project"]["version"]
)
SECURITY_SCHEMES: SecuritySchemesDict = {
    "device_token": {"type": "http", "scheme": "bearer", "bearerFormat": "kith_…"},
    "service_token": {"type": "http", "scheme": "bearer", "bearerFormat": "kithsvc_…"},
    "matrix_token": {"type": "http", "scheme": "bearer", "bearerFormat": "kithmx_…"},
    "matrix_signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`X-Matrix`, a request signed by a homeserver (server-server API)",
    },
    "webhook_signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Standard Webhooks 1.0.0, with `webhook-id` and `webhook-timestamp`",
    },
}
log = structlog.get_logger()


@dataclass(frozen=True)
class Ports:
    """What the service reaches the world through; tests replace these and nothing else."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    entropy: Callable[[int], bytes] = os.urandom
    hasher: PasswordHasher = field(default_factory=PasswordHasher)
    database: Database | None = None
    providers: tuple[Provider, ...] | None = None
    resolver: Resolve = resolve


class Kith:
    """The parts of one application, in `app.extensions["kith"]`."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.settings = settings
        self.runtime = runtime = _runtime(settings, ports)
        self.sms = Sms(runtime, settings, ports.providers)
        self.tokens = Tokens(runtime, settings)
        self.verification = Verifications(
            runtime, settings, self.sms, self.tokens, signed_by_device
        )
        self.discovery = Discovery(runtime, settings, self.tokens)
        self.messaging = Messaging(runtime, settings, self.tokens)
        self.camara = Camara(settings, self.tokens, self.verification)
        self.matrix = Matrix(runtime, settings, self.tokens, self.verification, self.discovery)
        self.parts: tuple[Part, ...] = (
            self.sms,
            self.tokens,
            self.verification,
            self.discovery,
            self.messaging,
            self.camara,
            self.matrix,
        )
        jobs = [job for part in self.parts for job in part.jobs]
        jobs.append(Job("idempotency keys", idempotency.purge_old))
        self.maintenance = Maintenance(runtime.database, runtime.clock, runtime.metrics, jobs)

    def start(self) -> None:
        """Start what runs beside requests, in the process that serves; never before a fork."""
        for warning in self.settings.warnings():
            log.warning("settings.unprotected", setting=warning)
        self.runtime.database.storage.start()
        if self.settings.maintenance_interval:
            self.maintenance.start(self.settings.maintenance_interval)
        for part in self.parts:
            part.start()

    def end_polls(self) -> None:
        """Answer long polls now, because the server stops."""
        self.messaging.messages.end_polls()

    def end_sockets(self) -> None:
        """Close the sockets of the stream, because the server stops."""
        self.messaging.streams.stop()

    def close(self) -> None:
        """Close connections to other servers before the process ends."""
        for part in reversed(self.parts):
            part.close()


def _runtime(settings: Settings, ports: Ports) -> Runtime:
    with as_settings_error(database_setting(settings)):
        database = ports.database or Database(
            settings.resolved_database_url,
            prepare=settings.database_prepared_statements,
            reserve=settings.storage_reserve_bytes,
        )
    with as_settings_error("KITH_DATA_DIR"):
        keyring = load_keyring(settings)
    metrics = Metrics()
    database.storage.alarm.listeners.append(metrics.storage_reserve.set)
    return Runtime(
        ports.clock,
        ports.entropy,
        ports.hasher,
        ports.resolver,
        database,
        keyring,
        metrics,
    )


def create_app(settings: Settings | None = None, ports: Ports | None = None) -> OpenAPI:
    """Create the WSGI application.

    Raises SettingsError, which lists every fault, if the settings cannot be used.
    """
    settings = settings or Settings.load()
    logs.configure(settings)
    app = OpenAPI(
        "kith",
        info=Info(
            title="Kith",
            version=VERSION,
            description="Is this number yours? Who in my address book is here? How do I reach them?",
        ),
        security_schemes=SECURITY_SCHEMES,
        doc_ui=False,
        validation_error_model=ProblemDocument,
        # Each operation documents its own errors; 500 is on all of them already.
        validation_error_status=500,
        static_folder=None,
    )
    app.extensions["kith"] = kith = Kith(settings, ports or Ports())
    middleware.install(
        app,
        kith.runtime.metrics,
        RequesterResolver(settings.trusted_proxies, settings.forwarded_header),
        settings.max_body_bytes,
    )
    paths.install(app, settings.metrics_port)
    app.register_api(health_api(kith.runtime.database, kith.runtime.metrics))
    app.register_blueprint(docs_assets)
    app.cli.add_command(maintenance_commands(kith.maintenance))
    for part in kith.parts:
        for blueprint in part.blueprints:
            app.register_api(blueprint)
        for commands in part.commands:
            app.cli.add_command(commands)
    return app
