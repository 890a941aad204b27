"""Checks of codes: each is counted, for its verification and for its number, before it is evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.database import Database
from core.phone_numbers import prefix_of
from core.problems import Problem
from core.secrets import Keyring
from core.typed_text import read_code
from sms.service import SendService
from verification.codes import TEST_KEY_ID, CodeBook, GuessLimits
from verification.metrics import VerificationMetrics
from verification.models import Verification
from verification.policy.service import PolicyService
from verification.problems import CodeRejected, CodeUnreadable, VerificationClosed
from verification.profile import VerificationProfile
from verification.proofs import prove
from verification.schemas import VerificationAnswer
from verification.secret_rotation import carry_over
from verification.store import VerificationKey, count_check, load, save, show


@dataclass(frozen=True)
class CheckService:
    """Checks codes."""

    database: Database
    keyring: Keyring
    guesses: GuessLimits
    codes: CodeBook
    policy: PolicyService
    sends: SendService
    clock: Callable[[], datetime]
    metrics: VerificationMetrics
    profile: VerificationProfile

    def check(self, verification_id: str, typed: str) -> VerificationAnswer:
        """Check the code of a native verification; raises what `check_code` does."""
        row = self.check_code(VerificationKey.parse(verification_id), typed, self.profile)
        return show(row, self.clock(), self.profile.max_checks)

    def check_code(
        self, key: VerificationKey, typed: str, profile: VerificationProfile
    ) -> Verification:
        """Check a code as a person typed it; return the verified row.

        Raises CodeRejected if it is wrong, and CodeUnreadable, uncounted, if it cannot be the code; what
        `GuessLimits` raises; and VerificationNotFound.
        """
        now = self.clock()
        code = read_code(typed)
        with self.database.write() as connection:
            row, refusal = self._check(connection, key, code, now, profile)
        self.metrics.verifications.labels("code_rejected" if refusal else "verified").inc()
        if refusal:
            raise refusal
        return row

    def _check(
        self,
        connection: Connection,
        key: VerificationKey,
        code: str | None,
        now: datetime,
        profile: VerificationProfile,
    ) -> tuple[Verification, Problem | None]:
        """Count a guess and evaluate it; an error raised here rolls back a guess that was not evaluated."""
        row = count_check(connection, key, now, profile.max_checks, len(code)) if code else None
        if code is None or row is None:
            return self._recheck(connection, key, code, now, profile), None
        digests = self.keyring.digests("number", row.e164)
        carry_over(connection, digests)
        self.guesses.count(connection, digests[0], row.code_length, now)
        if self.codes.matches(row.key_id, key.raw, row.code_length, code):
            self.guesses.refund(connection, digests[0], row.code_length)
            proven = prove(connection, row, digests, now + profile.lifetime)
            if row.key_id != TEST_KEY_ID:
                self._record_conversion(connection, row, now)
            return proven, None
        left = max(0, profile.max_checks - row.checks_used)
        if left == 0:
            save(connection, row, status="failed")
        plural = "guess is" if left == 1 else "guesses are"
        return row, CodeRejected(f"{left} {plural} left.", checks_left=left)

    def _record_conversion(self, connection: Connection, row: Verification, now: datetime) -> None:
        """Let the router and the policy know that the message arrived."""
        self.sends.record_verified(connection, row.number_digest, row.nonce)
        self.policy.record_verified(
            connection,
            row.number_digest,
            row.nonce,
            prefix=prefix_of(row.e164),
            country=row.country,
            subnet=row.subnet,
            sends=row.sms_count + row.call_count,
            started_at=row.created_at,
            now=now,
        )

    def _recheck(
        self,
        connection: Connection,
        key: VerificationKey,
        code: str | None,
        now: datetime,
        profile: VerificationProfile,
    ) -> Verification:
        """Return a verified row whose right code came again, unless it is single-use; else raise why not."""
        row = load(connection, key)
        if (
            code
            and row.status == "verified"
            and not profile.single_use
            and self.codes.matches(row.key_id, key.raw, row.code_length, code)
        ):
            return row
        self.guesses.require_open(connection, row, now, profile)
        if code is None or len(code) != row.code_length:
            raise CodeUnreadable(
                f"The code has {row.code_length} digits; enter all of them."
                " This did not count as a guess."
            )
        raise VerificationClosed("It was closed just now.")
