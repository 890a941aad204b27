"""One-time passwords of services: verifications of this adapter's profile, with ids that fit CAMARA's 36."""

from dataclasses import dataclass
from datetime import timedelta

from core.base64url import decode, encode
from core.problems import InvalidFields
from core.rate_limits import RateLimit
from core.requester import Requester
from interop.camara.schemas import SendCodeBody, ValidateCodeBody
from interop.camara.settings import CamaraSettings
from tokens.service_tokens import ServiceCaller
from verification.checks import CheckService
from verification.problems import VerificationNotFound
from verification.profile import VerificationProfile, sender_digest
from verification.schemas import StartVerification
from verification.service import VerificationService
from verification.store import VerificationKey
from verification.texts import template_error

#: 36 characters of base64url carry 27 bytes: the number's digest, which is the shard key, and 88 random
#: bits. So an id leads to its row without a table, and only its service may ask, with few checks.
ID_SIZE, NONCE_SIZE = 27, 11


@dataclass(frozen=True)
class CamaraService:
    """Sends codes in a service's own text and validates them."""

    verifications: VerificationService
    checks: CheckService
    settings: CamaraSettings
    send_limit: RateLimit

    def send_code(self, caller: ServiceCaller, body: SendCodeBody) -> str:
        """Send a code to a number and return its authentication id; older ones of the number expire."""
        max_length = self.settings.camara_message_length
        error = template_error(body.message)
        if len(body.message) > max_length:
            error = f"is longer than {max_length} characters"
        if error:
            raise InvalidFields.at("/message", error)
        sent = self.verifications.start(
            StartVerification(phone_number=body.phone_number),
            Requester.service(caller.name),
            None,
            self._profile(caller),
            body.message,
        )
        return encode(sent.key.raw[:ID_SIZE])

    def validate_code(self, caller: ServiceCaller, body: ValidateCodeBody) -> None:
        """Check a code; the right one closes its verification."""
        data = decode(body.authentication_id, ID_SIZE)
        if data is None:
            raise VerificationNotFound("Send a code to get an authenticationId.")
        key = VerificationKey(data[:16], data[16:].ljust(16, b"\0"), caller.name)
        self.checks.check_code(key, body.code, self._profile(caller))

    def _profile(self, caller: ServiceCaller) -> VerificationProfile:
        return VerificationProfile(
            timedelta(seconds=self.settings.camara_lifetime),
            self.settings.camara_checks,
            self.send_limit,
            caller.name,
            sender_digest(caller.name),
            # A landline gets calls, and CAMARA sends texts only.
            refused_types=("fixed_line",),
            nonce_size=NONCE_SIZE,
            single_use=True,
        )
