"""The part that knows devices: accounts, devices, device and service tokens, registration locks."""

from datetime import timedelta

from core.maintenance import Job
from core.runtime import Part, Runtime
from tokens.accounts import AccountService
from tokens.authenticate import Authenticator
from tokens.commands import devices_commands, tokens_commands
from tokens.device_tokens import DeviceTokenService
from tokens.devices import DeviceService
from tokens.events import AccountEvents
from tokens.former_numbers import FormerNumbers
from tokens.lock_changes import LockChangeService
from tokens.registration_lock import RegistrationLockService
from tokens.revocation import RevocationService
from tokens.routes import accounts_api, devices_api, links_api
from tokens.service_tokens import ServiceTokenService
from tokens.settings import TokenSettings
from tokens.token_issuer import TokenIssuer


class Tokens(Part):
    """Accounts and who may act for them."""

    def __init__(self, runtime: Runtime, settings: TokenSettings) -> None:
        database, clock, entropy = runtime.database, runtime.clock, runtime.entropy
        keyring = runtime.keyring
        self.events = events = AccountEvents()
        self.issuer = TokenIssuer(keyring, entropy)
        self.devices = DeviceService(
            database, clock, entropy, self.issuer, events, settings.max_devices
        )
        self.revocations = RevocationService(clock, self.devices, events)
        max_idle = timedelta(days=settings.token_idle_days) if settings.token_idle_days else None
        self.device_tokens = DeviceTokenService(
            database, clock, self.issuer, self.revocations, events, max_idle
        )
        self.service_tokens = ServiceTokenService(database, clock, entropy)
        self.authenticator = Authenticator(self.device_tokens, self.service_tokens)
        self.locks = RegistrationLockService(database, clock, runtime.hasher, keyring)
        former_numbers = FormerNumbers(keyring, clock, events)
        self.accounts = AccountService(
            database, clock, entropy, self.devices, self.locks, former_numbers, events
        )
        self.lock_changes = LockChangeService(database, clock, self.locks, events)
        self.blueprints = (
            accounts_api(self.authenticator, self.accounts, self.locks, self.lock_changes),
            devices_api(self.authenticator, self.devices, self.device_tokens),
            links_api(self.devices),
        )
        self.commands = (
            tokens_commands(self.service_tokens),
            devices_commands(database, self.accounts, self.devices, self.revocations, self.locks),
        )
        self.jobs = (
            Job("device links", self.devices.purge_links),
            Job("retired tokens", self.device_tokens.purge_retired),
            Job("former numbers", former_numbers.purge),
            Job("former locks", self.locks.purge_former),
            Job("service tokens", self.service_tokens.purge),
            # A transaction for each account.
            Job("revoked devices", self.revocations.purge, batch=1),
        )
