"""One-time passwords of services: our verifications on this door's terms, under ids that fit CAMARA's 36.

Owns the way between an authentication id and a verification. Refuses what is not the calling service's.
"""

from datetime import timedelta

from core.base64url import decode, encode
from core.limits import Limits
from core.problems import InvalidFields
from core.requester import Requester
from interop.camara.schemas import SendCodeBody, ValidateCodeBody
from interop.camara.settings import CamaraSettings
from tokens.service_tokens import ServiceCaller
from verification.checks import CheckService
from verification.problems import VerificationNotFound
from verification.profile import VerificationProfile, sender_of
from verification.schemas import StartVerification, VerificationAnswer
from verification.service import VerificationService
from verification.store import VerificationKey
from verification.templates import fault_of

#: 36 characters of base64url hold 27 bytes: the number's digest, which is the shard key, and 88 random
#: bits. So an id leads to its row with no table between, and only its service, with few tries, may ask.
ID_SIZE, NONCE_SIZE = 27, 11


class CamaraService:
    """Sends codes in a service's own words and validates them."""

    def __init__(
        self,
        verifications: VerificationService,
        checks: CheckService,
        settings: CamaraSettings,
        rules: Limits,
    ) -> None:
        self._verifications = verifications
        self._checks = checks
        self._longest_message = settings.camara_message_length
        self._lifetime = timedelta(seconds=settings.camara_lifetime)
        self._tries = settings.camara_checks
        self._sends = rules.sends_by_service

    def send_code(self, caller: ServiceCaller, body: SendCodeBody) -> str:
        """Send a code to a number and give its authentication id; older ones of the number expire."""
        if len(body.message) > self._longest_message:
            raise InvalidFields.at("/message", f"is longer than {self._longest_message} characters")
        fault = fault_of(body.message)
        if fault:
            raise InvalidFields.at("/message", fault)
        answered = self._verifications.start(
            StartVerification(phone_number=body.phone_number),
            Requester.service(caller.name),
            None,
            self._terms(caller),
            body.message,
        )
        started = VerificationAnswer.model_validate_json(answered.body)
        return encode(VerificationKey.parse(started.id).whole[:ID_SIZE])

    def validate_code(self, caller: ServiceCaller, body: ValidateCodeBody) -> None:
        """Judge a code; the right one ends its verification."""
        data = decode(body.authentication_id, ID_SIZE)
        if data is None:
            raise VerificationNotFound("Send a code to get an authenticationId.")
        key = VerificationKey(data[:16], data[16:].ljust(16, b"\0"), caller.name)
        self._checks.judge(key, body.code, self._terms(caller))

    def _terms(self, caller: ServiceCaller) -> VerificationProfile:
        return VerificationProfile(
            self._lifetime,
            self._tries,
            self._sends,
            caller.name,
            sender_of(caller.name),
            # A landline gets calls, and this door only texts.
            refused_types=("fixed_line",),
            nonce_size=NONCE_SIZE,
            good_once=True,
        )
