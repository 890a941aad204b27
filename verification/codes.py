"""Codes: derived and never stored; 6 digits, or 8 once many wrong codes were sent for a number.

HOTP (RFC 4226) at counter 0 under a key of its own for each verification, derived from a server key. A
resend therefore repeats the code, a stolen database holds none, and comparison takes constant time.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from core import rate_limits
from core.problems import RateLimitStatus
from core.rate_limits import RateLimit
from core.secrets import DIGEST_SIZE, Keyring
from verification.limits import WRONG_CODES, WRONG_CODES_6_DIGITS
from verification.models import Verification
from verification.policy.counters import sends_subject
from verification.problems import (
    ChecksExhausted,
    LongerCodeRequired,
    TooManyWrongCodes,
)
from verification.profile import VerificationProfile
from verification.store import require_pending

SHORT, LONG = 6, 8
#: `key_id` of a verification of a test number; no server secret has this name.
TEST_KEY_ID = "fixed"


def derive(key: bytes, verification_id: bytes, digits: int) -> str:
    """Derive a verification's code of 6 or 8 digits (RFC 4226 section 5.3, with HMAC-SHA-256)."""
    own_key = hmac.digest(key, verification_id, hashlib.sha256)
    digest = hmac.digest(own_key, (0).to_bytes(8, "big"), hashlib.sha256)
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


@dataclass(frozen=True)
class CodeBook:
    """Derives and compares codes.

    test_codes: codes of test numbers by the digest of their number.
    """

    keyring: Keyring
    test_codes: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def code(self, key_id: str, verification_id: bytes, digits: int) -> str | None:
        """Return the code of a verification, whose id is 32 bytes and begins with its number's digest.

        None if its server secret is no longer accepted, or its number is no test number any more.
        """
        if key_id == TEST_KEY_ID:
            code = self.test_codes.get(verification_id[:DIGEST_SIZE], "")
            return code if len(code) == digits else None
        key = self.keyring.derive_for(key_id, "codes")
        return None if key is None else derive(key, verification_id, digits)

    def matches(self, key_id: str, verification_id: bytes, digits: int, typed: str) -> bool:
        """Compare a typed code with the right one, in constant time."""
        code = self.code(key_id, verification_id, digits)
        return code is not None and hmac.compare_digest(code.encode(), typed.encode())


@dataclass(frozen=True)
class GuessLimits:
    """Bounds guessing by number, over all its verifications.

    25 wrong codes a day are evaluated at 6 digits and 2,500 in all, so a day's guessing succeeds with
    25/10^6 + 2,475/10^8, less than once in 10,000 days, for all requesters together.

    send_limit: the policy's limit on a requester's sends to one number; None where it has none.
    """

    send_limit: RateLimit | None

    def code_length(
        self, connection: Connection, number_digest: bytes, test_code: str | None, now: datetime
    ) -> int:
        """Return the length of a number's next code; a test number's code keeps its own.

        Raises TooManyWrongCodes if no code of that length would be evaluated today.
        """
        length = len(test_code) if test_code else None
        guessed = rate_limits.peek(connection, _limit(length), number_digest, now)
        if guessed.remaining == 0:
            raise _too_many(guessed)
        if length is not None:
            return length
        wrong = guessed.quota - guessed.remaining
        return LONG if wrong >= WRONG_CODES_6_DIGITS.quota else SHORT

    def count(
        self, connection: Connection, number_digest: bytes, code_length: int, now: datetime
    ) -> None:
        """Count a guess before it is evaluated; raises TooManyWrongCodes or LongerCodeRequired."""
        allowed, _ = rate_limits.consume(connection, _limit(code_length), number_digest, now)
        if allowed:
            return
        guessed = rate_limits.peek(connection, WRONG_CODES, number_digest, now)
        if guessed.remaining == 0:
            raise _too_many(guessed)
        raise LongerCodeRequired(
            "Too many wrong codes were sent for this number today, so 6 digits are not accepted;"
            " start a new verification to get 8."
        )

    def refund(self, connection: Connection, number_digest: bytes, code_length: int) -> None:
        """Undo `count` for a right code."""
        rate_limits.refund(connection, _limit(code_length), number_digest)

    def require_open(
        self, connection: Connection, row: Verification, now: datetime, profile: VerificationProfile
    ) -> None:
        """Raise ChecksExhausted, VerificationExpired or VerificationClosed unless a verification is pending.

        ChecksExhausted says in how many seconds a new one can be started in the same way. A limit that
        only asks for a challenge does not count: who solves it need not wait.
        """
        if row.status == "failed" and row.checks_used >= profile.max_checks:
            is_test = row.key_id == TEST_KEY_ID
            guesses = _limit(row.code_length if is_test else None)
            waits = [rate_limits.peek(connection, guesses, row.number_digest, now).retry_after]
            if not is_test:
                subject = sends_subject(row.number_digest, row.requester)
                sends = (profile.send_limit, self.send_limit if row.subnet else None)
                waits += [
                    rate_limits.peek(connection, limit, subject, now).retry_after
                    for limit in sends
                    if limit
                ]
            wait = max(waits)
            when = f" in {wait} seconds" if wait else ""
            raise ChecksExhausted(
                f"All guesses are used; start a new verification{when}.",
                retry_after=wait,
                checks_left=0,
            )
        require_pending(row, now)


def _limit(code_length: int | None) -> RateLimit:
    return WRONG_CODES_6_DIGITS if code_length == SHORT else WRONG_CODES


def _too_many(guessed: RateLimitStatus) -> TooManyWrongCodes:
    return TooManyWrongCodes(
        "Too many wrong codes were sent for this number; try again later.", rate_limit=guessed
    )
