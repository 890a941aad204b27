"""On what terms a verification is sent and judged: those open to all, or those of another door.

Owns what may differ between doors. Refuses nothing itself: each rule is applied where it is counted.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from core.limits import Limit
from verification.settings import VerificationSettings

#: Value of `VerificationProfile.service` for Matrix users; a service name holds no colon.
MATRIX_USERS = "matrix:"


def sender_of(name: str) -> bytes:
    """Give who a service or a Matrix user of this name is to supersession, 16 bytes."""
    return hashlib.sha256(name.encode()).digest()[:16]


@dataclass(frozen=True)
class VerificationProfile:
    """The limits of one door and, where services use it, the one that it is used by.

    A service's verifications are found by that service through that door alone.
    """

    lifetime: timedelta
    most_checks: int
    #: Texts and calls a number and service; None leaves that to the policy, as it does for persons.
    sends: Limit | None = None
    service: str | None = None
    #: Who starts a verification, as `sender_of` gives it: a start ends what its sender started of the number
    #: before. Natively nobody is known, and a start names what it ends.
    sender: bytes | None = None
    #: Kinds of numbers that it does not send to, whatever the policy says.
    refused_types: tuple[str, ...] = ()
    #: Random bytes in an id, at most 16; fewer where another protocol's ids are short.
    nonce_size: int = 16
    #: Whether a right code is right once: where nothing follows that uses the proof up, telling it
    #: twice would let it be used twice.
    good_once: bool = False

    @classmethod
    def open_to_all(cls, settings: VerificationSettings) -> "VerificationProfile":
        """Give the terms of the native routes."""
        return cls(timedelta(seconds=settings.code_lifetime), settings.checks_per_verification)
