"""The Matrix adapter: an identity service (Matrix 1.14) over verifications and discovery."""

from core.host_resolver import HostResolver
from core.maintenance import Job
from core.runtime import Part, Runtime
from discovery.wiring import Discovery
from interop.matrix.accounts import MatrixAccountService, purge_tokens, purge_users
from interop.matrix.authenticate import MatrixAuthentication
from interop.matrix.bindings import BindingService
from interop.matrix.federation import Homeservers
from interop.matrix.lookups import MatrixLookupService
from interop.matrix.metrics import MatrixMetrics
from interop.matrix.number_routes import number_apis
from interop.matrix.routes import account_apis
from interop.matrix.server_keys import ServerKeyCache
from interop.matrix.sessions import ValidationService, purge_sessions
from interop.matrix.settings import MatrixSettings
from interop.matrix.signed_requests import RequestVerifier
from interop.matrix.signing import Signer
from interop.matrix.terms import TermsOfService
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
        addresses = HostResolver(runtime.resolver, settings.matrix_allowed_networks)
        self.metrics = MatrixMetrics(runtime.metrics)
        homeservers = Homeservers(addresses, settings.matrix_ca_file, clock, self.metrics)
        self.accounts = MatrixAccountService(
            database,
            clock,
            runtime.entropy,
            keyring,
            homeservers,
            TermsOfService(settings.matrix_terms_file),
        )
        validations = ValidationService(
            database, keyring, verification.verifications, verification.checks, clock
        )
        self.signer = Signer(keyring, settings.public_url)
        bindings = BindingService(database, clock, tokens.accounts, validations, self.signer)
        lookups = MatrixLookupService(
            database, discovery.service, bindings, validations, keyring, settings
        )
        keys = ServerKeyCache(database, clock, keyring, homeservers.keys_of)
        authentication = MatrixAuthentication(
            self.accounts, RequestVerifier(self.signer.name, keys)
        )
        tokens.events.holder_changed.append(bindings.holder_changed)
        if settings.matrix_enabled:
            self.blueprints = (
                *account_apis(self.accounts, self.signer, authentication),
                *number_apis(validations, bindings, lookups, authentication),
            )
        self.jobs = (
            Job("matrix tokens", purge_tokens),
            Job("matrix users", purge_users),
            Job("matrix sessions", purge_sessions),
        )
