"""What differs between the native verifications and those of a protocol adapter: limits, lifetime, owner."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from core.rate_limits import RateLimit
from verification.settings import VerificationSettings

#: `VerificationProfile.service` of Matrix users; a service name holds no colon.
MATRIX_USERS = "matrix:"


def sender_digest(name: str) -> bytes:
    """Return the 16 bytes that stand for a service or a Matrix user in `VerificationProfile.sender`."""
    return hashlib.sha256(name.encode()).digest()[:16]


@dataclass(frozen=True)
class VerificationProfile:
    """The limits of a protocol adapter's verifications, and the service that they belong to."""

    lifetime: timedelta
    max_checks: int
    #: Texts and calls per number and service; None leaves that to the policy.
    send_limit: RateLimit | None = None
    #: Only this service finds its verifications; None: native.
    service: str | None = None
    #: Who starts a verification. A start cancels the pending ones of the same sender and number. Natively
    #: the sender is unknown, and a request names the verification that it supersedes.
    sender: bytes | None = None
    #: Kinds of numbers that get no code, whatever the policy says.
    refused_types: tuple[str, ...] = ()
    #: Random bytes in an id, at most 16; fewer where the protocol's ids are short.
    nonce_size: int = 16
    #: Whether the right code is accepted once only: where no later step uses up the proof, accepting it
    #: twice would let it be used twice.
    single_use: bool = False

    @classmethod
    def native(cls, settings: VerificationSettings) -> "VerificationProfile":
        """Return the profile of the native routes."""
        return cls(timedelta(seconds=settings.code_lifetime), settings.checks_per_verification)
