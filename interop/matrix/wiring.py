"""The Matrix adapter: an identity service (Matrix 1.14) over verifications and discovery."""

from core.addresses import Addresses
from core.maintenance import Job
from core.runtime import Part, Runtime
from discovery.wiring import Discovery
from interop.matrix.accounts import MatrixAccountService
from interop.matrix.bindings import BindingService
from interop.matrix.federation import Homeservers
from interop.matrix.lookups import MatrixLookupService
from interop.matrix.number_routes import numbers_api, unbinding_api
from interop.matrix.routes import leaving_api, open_api, terms_api
from interop.matrix.server_keys import RememberedKeys
from interop.matrix.sessions import ValidationService
from interop.matrix.settings import MatrixSettings
from interop.matrix.signed_requests import RequestVerifier
from interop.matrix.signing import Signer
from interop.matrix.terms import Policies
from tokens.wiring import Tokens
from verification.wiring import Verifications


class Matrix(Part):
    """The Matrix adapter."""

    def __init__(
        self,
        runtime: Runtime,
        settings: MatrixSettings,
        tokens: Tokens,
        verification: Verifications,
        discovery: Discovery,
    ) -> None:
        database, clock, keyring = runtime.database, runtime.clock, runtime.keyring
        addresses = Addresses(runtime.resolver, settings.matrix_allowed_networks)
        homeservers = Homeservers(addresses, settings.matrix_ca_file, clock, runtime.metrics)
        self.accounts = MatrixAccountService(
            database,
            clock,
            runtime.entropy,
            keyring,
            homeservers,
            Policies(settings.matrix_terms_file),
        )
        self.validations = ValidationService(
            database, keyring, verification.verifications, verification.checks, clock
        )
        self.signer = Signer(keyring, settings.public_url)
        self.bindings = BindingService(
            database, clock, tokens.accounts, self.validations, self.signer
        )
        self.lookups = MatrixLookupService(
            discovery.directory, self.bindings, self.validations, keyring, settings
        )
        keys = RememberedKeys(database, clock, keyring, homeservers.keys_of)
        self.verifier = RequestVerifier(self.signer.name, keys)
        tokens.events.holder_changed.append(self.bindings.holder_changed)
        if settings.matrix_enabled:
            self.blueprints = (open_api, terms_api, leaving_api, numbers_api, unbinding_api)
        self.jobs = (
            Job("matrix tokens", MatrixAccountService.purge_tokens),
            Job("matrix users", MatrixAccountService.purge_users),
            Job("matrix sessions", ValidationService.purge),
        )
