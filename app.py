"""The application: the only place where the parts meet."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from argon2 import PasswordHasher
from flask_openapi3 import Info, OpenAPI

from core import idempotency, logs, paths
from core import middleware as plumbing
from core.addresses import resolve
from core.commands import maintenance_commands
from core.database import Database
from core.directories import database_setting, told_by
from core.health import docs_assets, health_api
from core.limits import Limits
from core.maintenance import Maintenance
from core.metrics import Metrics
from core.name_lookups import Resolve
from core.problems import ProblemDocument
from core.requester import RequesterResolver
from core.secrets import Keyring, load_keyring
from discovery import changes
from discovery.budget import Budgets, Tiers
from discovery.ceilings import Ceilings
from discovery.commands import discovery_commands
from discovery.directory import Directory, Keeper
from discovery.epochs import Rotation
from discovery.routes import discovery_api
from discovery.service import DirectoryService
from interop.camara.routes import camara_api
from interop.camara.service import CamaraService
from interop.matrix.accounts import MatrixAccountService
from interop.matrix.number_routes import numbers_api, unbinding_api
from interop.matrix.routes import leaving_api, open_api, terms_api
from interop.matrix.service import MatrixService
from interop.matrix.sessions import ValidationService
from messaging.contacts.routes import contacts_api
from messaging.groups.routes import groups_api
from messaging.keys import prekeys
from messaging.keys.routes import keys_api
from messaging.keys.signatures import signed_by_device
from messaging.mailbox import client_ids
from messaging.mailbox.routes import messages_api
from messaging.push.routes import push_api
from messaging.stream.routes import stream_api
from messaging.wiring import Messaging
from settings import Settings
from sms import outcomes
from sms.delivery import DeliveryService
from sms.outbox import OutboxProvider
from sms.provider import Provider
from sms.routes import outbox_api
from sms.routing import Router
from sms.routing_file import load_routing
from sms.service import SendService
from sms.smpp import SmppProvider
from sms.smpp_messages import SmppMessages
from sms.twilio import TwilioProvider
from sms.twilio_callbacks import callbacks_api
from sms.webhook import WebhookProvider
from sms.webhook_callbacks import webhook_callbacks_api
from tokens.accounts import AccountService
from tokens.commands import tokens_commands
from tokens.device_commands import devices_commands
from tokens.device_tokens import DeviceTokenService
from tokens.devices import DeviceService
from tokens.events import AccountEvents
from tokens.former_locks import FormerLocks
from tokens.former_numbers import FormerNumbers
from tokens.lock_changes import LockChanges
from tokens.registration_lock import RegistrationLockService
from tokens.revocation import RevocationService
from tokens.routes import accounts_api, links_api
from tokens.service_tokens import ServiceTokenService
from tokens.token_issuer import TokenIssuer
from verification import catalogues
from verification.checks import CheckService
from verification.codes import CodeBook
from verification.commands import verification_commands
from verification.policy.challenge import ChallengeService, purge_spent
from verification.policy.commands import policy_commands
from verification.policy.counters import purge_countries
from verification.policy.file import load_policy
from verification.policy.owners import purge_proven
from verification.policy.refusals import purge_refusals
from verification.policy.service import PolicyService
from verification.policy.traffic import purge_traffic
from verification.proofs import ProofService
from verification.registration import RegistrationService
from verification.routes import phone_number_api, registrations_api, verifications_api
from verification.sending import CodeSender
from verification.service import VerificationService
from verification.test_numbers import TestNumbers

VERSION = "0.1.0"
log = structlog.get_logger()


@dataclass(frozen=True)
class Ports:
    """What the service reaches the world through; tests give their own, and fake nothing else."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    entropy: Callable[[int], bytes] = os.urandom
    hasher: PasswordHasher = field(default_factory=PasswordHasher)
    database: Database | None = None
    providers: tuple[Provider, ...] | None = None
    resolver: Resolve = resolve


@dataclass(frozen=True)
class Kith:
    """The services of one application, in `app.extensions["kith"]`."""

    settings: Settings
    database: Database
    metrics: Metrics
    clock: Callable[[], datetime]
    keyring: Keyring
    providers: Mapping[str, Provider]
    sends: SendService
    deliveries: DeliveryService
    accounts: AccountService
    lock_changes: LockChanges
    devices: DeviceService
    revocations: RevocationService
    tokens: DeviceTokenService
    service_tokens: ServiceTokenService
    verifications: VerificationService
    checks: CheckService
    registrations: RegistrationService
    camara: CamaraService
    matrix: MatrixService
    directory: DirectoryService
    replicas: Directory
    rotation: Rotation
    keeper: Keeper
    messaging: Messaging
    maintenance: Maintenance

    def start(self) -> None:
        """Begin what runs beside requests; in the process that answers them, never before a fork."""
        for warning in self.settings.warnings():
            log.warning("settings.unprotected", setting=warning)
        self.database.storage.start()
        if self.settings.maintenance_interval:
            self.maintenance.start(self.settings.maintenance_interval)
        self.keeper.start()
        self.messaging.start()

    def end_polls(self) -> None:
        """Answer long polls now, because the server stops."""
        self.messaging.messages.end_polls()

    def end_sockets(self) -> None:
        """Close the sockets of the stream, because the server stops."""
        self.messaging.sockets.stop()

    def close(self) -> None:
        """Leave whoever is connected to this process in good form, before it ends."""
        self.messaging.close()
        for provider in self.providers.values():
            if isinstance(provider, SmppProvider):
                provider.close()


def build(settings: Settings, ports: Ports) -> Kith:
    """Build every service once and connect them."""
    catalogues.require(settings.default_locale)
    clock, entropy = ports.clock, ports.entropy
    with told_by(database_setting(settings)):
        database = ports.database or Database(
            settings.resolved_database_url,
            prepare=settings.database_prepared_statements,
            reserve=settings.storage_reserve_bytes,
        )
    with told_by("KITH_DATA_DIR"):
        keyring = load_keyring(settings)
    metrics = Metrics()
    database.storage.alarm.listeners.append(metrics.storage_reserve.set)
    rules = Limits.from_settings(settings)
    policy = load_policy(settings.policy_file, is_set=True)
    challenges = ChallengeService(keyring, policy.challenge, entropy)
    policies = PolicyService(
        policy, challenges, entropy, metrics, development=settings.environment == "development"
    )
    deliveries = DeliveryService(database, clock, metrics)
    providers = ports.providers or _providers(settings, database, clock, deliveries, metrics)
    routing = load_routing(settings, [provider.name for provider in providers])
    router = Router(routing, providers, clock, entropy)
    sends = SendService(
        database,
        providers,
        router,
        deliveries,
        clock,
        entropy,
        metrics,
        settings.failover_seconds,
    )
    events = AccountEvents()
    mint = TokenIssuer(keyring, entropy)
    devices = DeviceService(database, clock, entropy, mint, events, settings.max_devices)
    revocations = RevocationService(clock, devices, events)
    idle_days = settings.token_idle_days
    max_idle = timedelta(days=idle_days) if idle_days else None
    tokens = DeviceTokenService(database, clock, mint, revocations, events, rules, max_idle)
    service_tokens = ServiceTokenService(database, clock, entropy)
    former_locks = FormerLocks(keyring, clock)
    locks = RegistrationLockService(database, clock, ports.hasher, rules, former_locks)
    former_numbers = FormerNumbers(keyring, clock, events)
    accounts = AccountService(database, clock, entropy, devices, locks, former_numbers, events)
    lock_changes = LockChanges(database, clock, locks, events)
    fixed_codes = TestNumbers(settings, keyring, clock, metrics)
    codes = CodeBook(keyring, fixed_codes.by_digest)
    checks = CheckService(
        database, settings, keyring, rules, codes, policies, sends, clock, metrics
    )
    sender = CodeSender(database, settings, keyring, codes, policies, sends, clock)
    verifications = VerificationService(
        database,
        settings,
        keyring,
        checks,
        sender,
        challenges,
        fixed_codes,
        clock,
        entropy,
        metrics,
    )
    proofs = ProofService(accounts, clock)
    registrations = RegistrationService(
        database,
        accounts,
        devices,
        revocations,
        proofs,
        locks,
        mint,
        clock,
        entropy,
        metrics,
        signed_by_device,
    )
    camara = CamaraService(verifications, checks, settings, rules)
    replicas = Directory(
        database,
        clock,
        metrics,
        settings.data_dir / "discovery",
        with_filter=settings.bloom_filter,
    )
    directory = DirectoryService(
        database,
        clock,
        entropy,
        keyring,
        metrics,
        replicas,
        Budgets(Tiers.from_settings(settings)),
        Ceilings(settings, keyring, metrics),
        settings.max_hashes,
    )
    matrix = MatrixService.build(
        database,
        settings,
        keyring,
        rules,
        metrics,
        clock,
        entropy,
        ports.resolver,
        accounts,
        proofs,
        verifications,
        checks,
        directory,
    )
    rotation = Rotation(database, clock, entropy, timedelta(settings.epoch_overlap_days))
    keeper = Keeper(database, clock, replicas, rotation, settings.epoch_days)
    messaging = Messaging.build(
        database, clock, entropy, metrics, settings, rules, ports.resolver, events
    )
    maintenance = Maintenance(database, clock, metrics)

    devices.mailboxes_of = messaging.messages.mailboxes_of
    events.listing_changed.append(directory.listing_changed)
    events.holder_changed.append(matrix.bindings.holder_changed)

    for name, job in (
        ("unsettled sends", deliveries.settle),
        ("sends", sends.purge_sends),
        ("routing outcomes", outcomes.purge_outcomes),
        ("outbox", sends.purge_outbox),
        ("taken reports", deliveries.purge_reports),
        ("smpp messages", SmppMessages.purge),
        ("verifications", verifications.purge),
        ("decisions", policies.purge),
        ("refusals", purge_refusals),
        ("proven numbers", purge_proven),
        ("traffic", purge_traffic),
        ("network countries", purge_countries),
        ("spent challenges", purge_spent),
        ("idempotency keys", idempotency.purge_old),
        ("device links", devices.purge_links),
        ("retired tokens", tokens.purge_retired),
        ("former numbers", former_numbers.purge),
        ("former locks", former_locks.purge),
        ("service tokens", service_tokens.purge),
        ("envelopes", messaging.messages.purge_envelopes),
        ("sent messages", client_ids.purge_old),
        ("taken prekeys", prekeys.purge_taken),
        ("directory changes", changes.forget_old),
        ("epochs that are over", rotation.remove),
        ("lookup budgets", Budgets.purge),
        ("matrix tokens", MatrixAccountService.purge_tokens),
        ("matrix users", MatrixAccountService.purge_users),
        ("matrix sessions", ValidationService.purge),
    ):
        maintenance.add(name, job)
    # As many transactions as accounts, see there.
    maintenance.add("revoked devices", revocations.purge, batch=1)
    return Kith(
        settings,
        database,
        metrics,
        clock,
        keyring,
        {provider.name: provider for provider in providers},
        sends,
        deliveries,
        accounts,
        lock_changes,
        devices,
        revocations,
        tokens,
        service_tokens,
        verifications,
        checks,
        registrations,
        camara,
        matrix,
        directory,
        replicas,
        rotation,
        keeper,
        messaging,
        maintenance,
    )


def _providers(
    settings: Settings,
    database: Database,
    clock: Callable[[], datetime],
    deliveries: DeliveryService,
    metrics: Metrics,
) -> tuple[Provider, ...]:
    """Build the providers that the settings name, in their order."""
    builders: dict[str, Callable[[], Provider]] = {
        "outbox": lambda: OutboxProvider(database, clock),
        "twilio": lambda: TwilioProvider.from_settings(settings),
        "webhook": lambda: WebhookProvider.from_settings(settings, clock),
        "smpp": lambda: SmppProvider.from_settings(
            settings, SmppMessages(database, clock, deliveries, metrics), metrics
        ),
    }
    return tuple(builders[name]() for name in settings.sms_provider)


def create_app(settings: Settings | None = None, ports: Ports | None = None) -> OpenAPI:
    """Create the WSGI application.

    Raises SettingsError, which names every fault, when the settings cannot be used.
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
        security_schemes={
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
        },
        doc_ui=False,
        validation_error_model=ProblemDocument,
        # Every operation documents its own; 500 is on all of them, so nothing is added.
        validation_error_status=500,
        static_folder=None,
    )
    kith = build(settings, ports or Ports())
    app.extensions["kith"] = kith
    plumbing.install(
        app,
        kith.metrics,
        RequesterResolver(settings.trusted_proxies, settings.forwarded_header),
        settings.max_body_bytes,
    )
    paths.install(app, settings.metrics_port)

    # Open to all; limits by number and requester, or a secret in the request, guard them.
    app.register_api(verifications_api)
    app.register_api(registrations_api)
    app.register_api(links_api)
    app.register_api(callbacks_api)
    if settings.mock_sms:
        app.register_api(outbox_api)
    # By device token: each is made with `authenticate=authenticate_device`.
    app.register_api(accounts_api)
    app.register_api(phone_number_api)
    app.register_api(discovery_api)
    app.register_api(messages_api)
    app.register_api(keys_api)
    app.register_api(contacts_api)
    app.register_api(push_api)
    app.register_api(groups_api)
    app.register_api(stream_api)
    # By service token, with the scope that each names.
    app.register_api(camara_api)
    # Partly open; by a token of its own, or without the terms accepted: see each.
    if settings.matrix_enabled:
        for api in (open_api, terms_api, leaving_api, numbers_api, unbinding_api):
            app.register_api(api)
    # By signature: made with `authenticate=authenticate_sender`.
    app.register_api(webhook_callbacks_api)
    # For operators and monitors; a proxy keeps /metrics inside.
    app.register_api(health_api)
    app.register_blueprint(docs_assets)

    for commands in (
        maintenance_commands,
        tokens_commands,
        devices_commands,
        policy_commands,
        verification_commands,
        discovery_commands,
    ):
        app.cli.add_command(commands)
    return app
