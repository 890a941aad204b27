"""Checks: a guess is counted, on its verification and on its number, and only then judged.

Owns the bound on guessing. Refuses to judge 6 digits of a number that is being guessed at: over all
its verifications 25 wrong codes a day are judged at 6 digits and 2,500 in all, so that a day's guessing
succeeds with 25/10^6 + 2,475/10^8, less than once in 10,000 days, whoever guesses.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from core import limits
from core.database import Database
from core.limits import Limit, Limits
from core.metrics import Metrics
from core.phone_numbers import prefix_of
from core.problems import Allowance, Problem
from core.secrets import Keyring
from core.typed_text import read_code
from sms.service import SendService
from verification.codes import FIXED, LONG, SHORT, CodeBook
from verification.models import Verification
from verification.policy.counters import sends_subject
from verification.policy.service import PolicyService
from verification.problems import (
    CodeRejected,
    CodeUnreadable,
    LongerCodeRequired,
    TooManyWrongCodes,
    VerificationClosed,
)
from verification.profile import VerificationProfile
from verification.proofs import prove
from verification.schemas import CheckCode, VerificationAnswer
from verification.sending import carry_over
from verification.settings import VerificationSettings
from verification.store import (
    VerificationKey,
    count_check,
    load,
    require_pending,
    save,
    show,
)


class CheckService:
    """Judges codes."""

    def __init__(
        self,
        database: Database,
        settings: VerificationSettings,
        keyring: Keyring,
        rules: Limits,
        codes: CodeBook,
        policy: PolicyService,
        sends: SendService,
        clock: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._rules = rules
        self._codes = codes
        self._policy = policy
        self._sends = sends
        self._clock = clock
        self._metrics = metrics
        self._terms = VerificationProfile.open_to_all(settings)

    def code_length(
        self, connection: Connection, number_digest: bytes, fixed: int | None = None
    ) -> int:
        """Choose how long a number's next code is, by how often it was guessed at today.

        A `fixed` code keeps its length. Raises TooManyWrongCodes when no code of it would be judged.
        """
        short = fixed == SHORT
        limit = self._rules.wrong_codes_6_digits if short else self._rules.wrong_codes
        guessed = limits.peek(connection, limit, number_digest, self._clock())
        if guessed.left == 0:
            raise self._guessed_out(guessed)
        if fixed is not None:
            return fixed
        wrong = guessed.capacity - guessed.left
        return LONG if wrong >= self._rules.wrong_codes_6_digits.capacity else SHORT

    def next_start_in(
        self, connection: Connection, row: Verification, now: datetime, sends: Limit | None
    ) -> int:
        """Say in how many seconds a new verification of a number can be started as this one was.

        `sends` is the limit of its door, where it has one of its own. What only asks for a challenge does
        not count: who solves it need not wait.
        """
        fixed = row.key_id == FIXED
        short = fixed and row.code_length == SHORT
        guesses = self._rules.wrong_codes_6_digits if short else self._rules.wrong_codes
        waits = [limits.peek(connection, guesses, row.number_digest, now).retry_after]
        if not fixed:
            subject = sends_subject(row.number_digest, row.requester)
            own = self._policy.own_limit
            waits += [
                limits.peek(connection, limit, subject, now).retry_after
                for limit in (sends, own if row.wider else None)
                if limit
            ]
        return max(waits)

    def check(self, verification_id: str, body: CheckCode) -> VerificationAnswer:
        """Judge a code; raises CodeRejected when it is wrong."""
        row = self.judge(VerificationKey.parse(verification_id), body.code, self._terms)
        return show(row, self._clock(), self._terms.most_checks)

    def judge(self, key: VerificationKey, typed: str, terms: VerificationProfile) -> Verification:
        """Judge a code as a person typed it, on the terms of a door.

        Raises CodeRejected when it is wrong, and CodeUnreadable, uncounted, when it cannot be the code.
        """
        now = self._clock()
        code = read_code(typed)
        with self._database.write() as connection:
            row, refusal = self._judge(connection, key, code, now, terms)
        self._metrics.verifications.labels("code_rejected" if refusal else "verified").inc()
        if refusal:
            raise refusal
        return row

    def _judge(
        self,
        connection: Connection,
        key: VerificationKey,
        code: str | None,
        now: datetime,
        terms: VerificationProfile,
    ) -> tuple[Verification, Problem | None]:
        """Count a guess and judge it; what is raised here rolls back a guess that was not judged."""
        row = count_check(connection, key, now, terms.most_checks, len(code)) if code else None
        if code is None or row is None:
            return self._judge_again(connection, key, code, now, terms), None
        carry_over(connection, self._keyring, row.e164)
        digests = self._keyring.digests("number", row.e164)
        number = digests[0]
        short = row.code_length == SHORT
        limit = self._rules.wrong_codes_6_digits if short else self._rules.wrong_codes
        allowed, _ = limits.take(connection, limit, number, now)
        if not allowed:
            guessed = limits.peek(connection, self._rules.wrong_codes, number, now)
            if guessed.left == 0:
                raise self._guessed_out(guessed)
            raise LongerCodeRequired(
                "Someone guesses at this number's codes, so 6 digits are not judged any more"
                " today; start a new verification and get 8."
            )
        if self._codes.matches(row.key_id, key.whole, row.code_length, code):
            limits.give_back(connection, limit, number)
            proven = prove(connection, row, digests, now + terms.lifetime)
            if row.key_id != FIXED:
                self._learn(connection, row, now)
            return proven, None
        left = max(0, terms.most_checks - row.checks_used)
        if left == 0:
            save(connection, row, status="failed")
        plural = "guess is" if left == 1 else "guesses are"
        return row, CodeRejected(f"{left} {plural} left.", checks_left=left)

    def _learn(self, connection: Connection, row: Verification, now: datetime) -> None:
        """Tell router and policy that what was sent arrived; of a test number nothing was."""
        self._sends.verified(connection, row.number_digest, row.nonce)
        self._policy.verified(
            connection,
            row.number_digest,
            row.nonce,
            prefix=prefix_of(row.e164),
            country=row.country,
            wider=row.wider,
            sends=row.sms_count + row.call_count,
            started_at=row.created_at,
            now=now,
        )

    def _judge_again(
        self,
        connection: Connection,
        key: VerificationKey,
        code: str | None,
        now: datetime,
        terms: VerificationProfile,
    ) -> Verification:
        """Answer a check of a verification that is over.

        The right code again is verified again, but not where it is good once.
        """
        row = load(connection, key)
        repeatable = row.status == "verified" and not terms.good_once
        if (
            repeatable
            and code
            and self._codes.matches(row.key_id, key.whole, row.code_length, code)
        ):
            return row
        wait = partial(self.next_start_in, connection, row, now, terms.sends)
        require_pending(row, now, terms.most_checks, wait)
        if code is None or len(code) != row.code_length:
            raise CodeUnreadable(
                f"The code has {row.code_length} digits; enter all of them."
                " This did not count as a guess."
            )
        raise VerificationClosed("It was closed just now.")

    @staticmethod
    def _guessed_out(guessed: Allowance) -> TooManyWrongCodes:
        return TooManyWrongCodes(
            "Someone guesses at this number's codes; try again later.", allowance=guessed
        )
