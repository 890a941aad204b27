"""The services of the Matrix door, built together.

Owns how they are connected; each says itself what it owns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from core.addresses import Addresses
from core.database import Database
from core.limits import Limits
from core.metrics import Metrics
from core.name_lookups import Resolve
from core.secrets import Keyring
from discovery.service import DirectoryService
from interop.matrix.accounts import MatrixAccountService
from interop.matrix.bindings import BindingService
from interop.matrix.federation import Homeservers
from interop.matrix.lookups import MatrixLookupService
from interop.matrix.server_keys import RememberedKeys
from interop.matrix.sessions import ValidationService
from interop.matrix.settings import MatrixSettings
from interop.matrix.signed_requests import RequestVerifier
from interop.matrix.signing import Signer
from interop.matrix.terms import Policies
from tokens.accounts import AccountService
from verification.checks import CheckService
from verification.proofs import ProofService
from verification.service import VerificationService


@dataclass(frozen=True)
class MatrixService:
    """Everything that is behind this door."""

    accounts: MatrixAccountService
    validations: ValidationService
    bindings: BindingService
    lookups: MatrixLookupService
    signer: Signer
    verifier: RequestVerifier

    @classmethod
    def build(
        cls,
        database: Database,
        settings: MatrixSettings,
        keyring: Keyring,
        rules: Limits,
        metrics: Metrics,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        resolver: Resolve,
        accounts: AccountService,
        proofs: ProofService,
        verifications: VerificationService,
        checks: CheckService,
        directory: DirectoryService,
    ) -> "MatrixService":
        """Build them over the services that all doors share."""
        addresses = Addresses(resolver, settings.matrix_allowed_networks)
        homeservers = Homeservers(addresses, settings.matrix_ca_file, clock, metrics)
        users = MatrixAccountService(
            database,
            clock,
            entropy,
            keyring,
            homeservers,
            Policies(settings.matrix_terms_file),
            rules.matrix_registrations,
        )
        validations = ValidationService(database, settings, keyring, verifications, checks, clock)
        signer = Signer(keyring, settings.public_url)
        bindings = BindingService(database, clock, accounts, proofs, validations, signer)
        lookups = MatrixLookupService(directory, bindings, validations, keyring, settings)
        keys = RememberedKeys(
            database, clock, keyring, homeservers.keys_of, rules.matrix_key_questions
        )
        verifier = RequestVerifier(signer.name, keys)
        return cls(users, validations, bindings, lookups, signer, verifier)
