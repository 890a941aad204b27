"""The verification part: verifications, codes, the policy on sends, and registration."""

from core.idempotent_retries import IdempotentRetries
from core.maintenance import Job
from core.runtime import Part, Runtime
from sms.wiring import Sms
from tokens.wiring import Tokens
from verification import catalogues
from verification.checks import CheckService
from verification.codes import CodeBook, GuessLimits
from verification.commands import verification_commands
from verification.metrics import VerificationMetrics
from verification.policy.challenge import ChallengeService, purge_spent
from verification.policy.commands import policy_commands
from verification.policy.counters import purge_countries
from verification.policy.file import load_policy
from verification.policy.known_numbers import purge_proven
from verification.policy.refusals import purge_refusals
from verification.policy.service import PolicyService
from verification.policy.traffic import purge_traffic
from verification.profile import VerificationProfile
from verification.registration import RegistrationService, SignedByDevice
from verification.routes import phone_number_api, registrations_api, verifications_api
from verification.sending import CodeSender
from verification.service import VerificationService
from verification.settings import VerificationSettings
from verification.test_numbers import TestNumbers


class Verifications(Part):
    """Verifications of numbers, and registrations with them."""

    def __init__(
        self,
        runtime: Runtime,
        settings: VerificationSettings,
        sms: Sms,
        tokens: Tokens,
        signed_by_device: SignedByDevice,
    ) -> None:
        """Build the services; `signed_by_device` checks a signature under a device's identity key."""
        catalogues.require(settings.default_locale)
        database, clock, entropy = runtime.database, runtime.clock, runtime.entropy
        keyring, metrics = runtime.keyring, VerificationMetrics(runtime.metrics, sms.metrics.funnel)
        policy = load_policy(settings.policy_file, is_set=True)
        challenges = ChallengeService(keyring, policy.challenge, entropy)
        policies = PolicyService(
            policy,
            challenges,
            entropy,
            metrics,
            development=settings.environment == "development",
        )
        test_numbers = TestNumbers(settings, keyring, clock, metrics)
        codes = CodeBook(keyring, test_numbers.codes)
        profile = VerificationProfile.native(settings)
        guesses = GuessLimits(policies.requester_limit)
        self.checks = CheckService(
            database, keyring, guesses, codes, policies, sms.sends, clock, metrics, profile
        )
        sender = CodeSender(database, settings, keyring, codes, policies, sms.sends, clock)
        self.verifications = VerificationService(
            database,
            settings,
            keyring,
            guesses,
            sender,
            challenges,
            test_numbers,
            clock,
            entropy,
            metrics,
            profile,
            IdempotentRetries(database, clock),
        )
        self.registrations = RegistrationService(
            database,
            tokens.accounts,
            tokens.devices,
            tokens.revocations,
            tokens.locks,
            tokens.issuer,
            clock,
            entropy,
            metrics,
            signed_by_device,
        )
        self.blueprints = (
            verifications_api(self.verifications, self.checks),
            registrations_api(self.registrations),
            phone_number_api(self.registrations, tokens.authenticator.device, tokens.locks),
        )
        self.commands = (
            policy_commands(runtime, settings.policy_file, sms.routing.currency),
            verification_commands(database, clock),
        )
        self.jobs = (
            Job("verifications", self.verifications.purge),
            Job("decisions", policies.purge),
            Job("refusals", purge_refusals),
            Job("proven numbers", purge_proven),
            Job("traffic", purge_traffic),
            Job("network countries", purge_countries),
            Job("spent challenges", purge_spent),
        )
