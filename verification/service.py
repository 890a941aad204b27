"""Verifications: start, send again, check, cancel.

Owns the rules of proving a number. Each limit is counted before it is judged, in one transaction that
ends before any provider is called; what the provider answered is recorded in a second one. Refuses to
send twice what may have been sent.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.orm import Session

from core import idempotency, limits
from core.database import Database, purge
from core.idempotency import IdempotencyKey
from core.limits import Limits
from core.metrics import Metrics
from core.phone_numbers import PhoneNumber
from core.problems import Allowance, IdempotencyInProgress, Problem
from core.secrets import Keyring
from core.settings import Settings
from sms.problems import SendUnavailable
from sms.provider import Channel, Message
from sms.service import Outcome, SendService
from tokens.device_tokens import encode
from verification import texts
from verification.codes import LONG, SHORT, CodeBook
from verification.models import Verification
from verification.problems import (
    AppHashRefused,
    CodeRejected,
    LongerCodeRequired,
    NoSendsLeft,
    SendTooSoon,
    TooManySends,
    TooManyWrongCodes,
    VerificationClosed,
    WebOriginRefused,
)
from verification.schemas import CheckCode, SendAgain, StartVerification, VerificationAnswer
from verification.sessions import (
    Answered,
    VerificationKey,
    history,
    load,
    require_pending,
    show,
)

KEPT = timedelta(days=1)
#: A first request that has not answered in this long was cut off by a crash.
ABANDONED_AFTER = timedelta(seconds=60)
#: How long a repeated request waits for the first one's answer, and how often it looks.
WAIT_SECONDS, LOOK_SECONDS = 15.0, 0.02


@dataclass(frozen=True)
class Pending:
    """A send that is queued and not handed over yet."""

    row: Verification
    send_id: bytes
    channel: Channel
    subject: bytes
    allowance: Allowance
    request: IdempotencyKey | None
    #: When this verification sent on this channel before; None for its first send.
    previous: datetime | None = None


class VerificationService:
    """Proves numbers."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        keyring: Keyring,
        rules: Limits,
        sends: SendService,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._settings = settings
        self._keyring = keyring
        self._codes = CodeBook(keyring)
        self._rules = rules
        self._sends = sends
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._most_checks = settings.checks_per_verification
        self._lifetime = timedelta(seconds=settings.code_lifetime)

    # Starting

    def start(
        self, body: StartVerification, requester: str, idempotency_key: str | None
    ) -> Answered:
        """Start proving a number: send its first text or call."""
        settings = self._settings
        number = PhoneNumber.parse(body.phone_number, body.region or settings.default_region)
        number.refuse(settings.refused_number_types)
        origin = self._permitted_origin(body)
        digests = self._keyring.digests("number", number.e164)
        requesters = self._keyring.digests("requester", requester)
        key = VerificationKey(digests[0], self._entropy(16))
        request = self._identify(key, requesters[0], "start", idempotency_key, body)
        now = self._clock()
        with self._database.write() as session:
            earlier = request and idempotency.claim(session, request, key.nonce, now)
            if not earlier:
                self._carry_over(session, digests, requesters)
                row = Verification(
                    number_digest=key.number_digest,
                    nonce=key.nonce,
                    e164=number.e164,
                    requester=requesters[0],
                    status="pending",
                    channel=body.channel,
                    code_length=self._code_length(session, digests[0], now),
                    key_id=self._codes.key_id,
                    checks_used=0,
                    locale=body.locale,
                    app_hash=body.app_hash,
                    web_origin=origin,
                    created_at=now,
                    expires_at=now + self._lifetime,
                    sms_count=1 if body.channel == "sms" else 0,
                    call_count=1 if body.channel == "voice" else 0,
                    last_sms_at=now if body.channel == "sms" else None,
                    last_call_at=now if body.channel == "voice" else None,
                )
                pending = self._queue(session, row, body.channel, now, request)
                session.add(row)
        if earlier and request:
            return self._answer_again(
                request, earlier, lambda: self.start(body, requester, idempotency_key)
            )
        self._metrics.verifications.labels("started").inc()
        return self._hand_over(pending, first=True)

    def _permitted_origin(self, body: StartVerification) -> str | None:
        """Give the host of the web origin, if the operator allows it and the app hash."""
        settings = self._settings
        open_to_any = settings.environment == "development"
        origin = body.web_origin and body.web_origin.removeprefix("https://")
        if origin and origin not in settings.web_origins:
            if settings.web_origins or not open_to_any:
                raise WebOriginRefused("The operator lists allowed hosts in KITH_WEB_ORIGINS.")
        if body.app_hash and body.app_hash not in settings.android_app_hashes:
            if settings.android_app_hashes or not open_to_any:
                raise AppHashRefused(
                    "The operator lists allowed hashes in KITH_ANDROID_APP_HASHES."
                )
        return origin

    def _code_length(self, session: Session, number_digest: bytes, now: datetime) -> int:
        """Choose how long a number's next code is, by how often it was guessed at today."""
        guessed = limits.peek(session, self._rules.wrong_codes, number_digest, now)
        if guessed.left == 0:
            raise TooManyWrongCodes(
                "Someone guesses at this number's codes; try again later.", allowance=guessed
            )
        wrong = guessed.capacity - guessed.left
        return LONG if wrong >= self._rules.wrong_codes_6_digits.capacity else SHORT

    # Sending

    def send_again(
        self, verification_id: str, body: SendAgain, idempotency_key: str | None
    ) -> Answered:
        """Send a verification's code once more, by text or by call."""
        key = VerificationKey.parse(verification_id)
        request = self._identify(key, key.nonce, "send", idempotency_key, body)
        now = self._clock()
        with self._database.write() as session:
            row = load(session, key, lock=True)
            earlier = request and idempotency.claim(session, request, key.nonce, now)
            if not earlier:
                require_pending(row, now, self._most_checks)
                previous = row.last_sms_at if body.channel == "sms" else row.last_call_at
                self._climb(row, body.channel, now)
                pending = self._queue(session, row, body.channel, now, request, previous)
        if earlier and request:
            return self._answer_again(
                request, earlier, lambda: self.send_again(verification_id, body, idempotency_key)
            )
        return self._hand_over(pending, first=False)

    @staticmethod
    def _climb(row: Verification, channel: Channel, now: datetime) -> None:
        """Take the next step of the ladder, whose row the transaction holds."""
        wait = history(row).seconds_until(channel, now)
        if wait is None:
            raise NoSendsLeft("Wait for what was sent, or start a new verification later.")
        if wait > 0:
            raise SendTooSoon(f"The next one comes in {wait} seconds.", retry_after=wait)
        row.channel = channel
        if channel == "sms":
            row.sms_count, row.last_sms_at = row.sms_count + 1, now
        else:
            row.call_count, row.last_call_at = row.call_count + 1, now

    def _queue(
        self,
        session: Session,
        row: Verification,
        channel: Channel,
        now: datetime,
        request: IdempotencyKey | None,
        previous: datetime | None = None,
    ) -> Pending:
        """Count a send against its limit and record it, before anything is handed over."""
        subject = _sends_subject(row.number_digest, row.requester)
        allowed, allowance = limits.take(session, self._rules.sends, subject, now)
        if not allowed:
            raise TooManySends("The limit refills over the day.", allowance=allowance)
        send_id = self._sends.queue(session, row.number_digest, row.nonce, channel)
        return Pending(row, send_id, channel, subject, allowance, request, previous)

    def _hand_over(self, pending: Pending, *, first: bool) -> Answered:
        """Call the provider outside of any transaction, then record what it answered."""
        row = pending.row
        outcome = self._sends.dispatch(self._message(pending))
        now = self._clock()
        answer = show(row, now, self._most_checks).model_dump_json()
        with self._database.write() as session:
            self._sends.record(session, row.number_digest, pending.send_id, outcome)
            if outcome.failure:
                self._undo(session, pending, outcome, first=first)
            else:
                if first:
                    self._supersede(session, row)
                if pending.request:
                    idempotency.answer(session, pending.request, answer)
        if outcome.failure:
            raise outcome.failure
        return Answered(answer, pending.allowance)

    def _message(self, pending: Pending) -> Message:
        row, settings = pending.row, self._settings
        key = VerificationKey(row.number_digest, row.nonce)
        code = self._codes.code(row.key_id, key.whole, row.code_length)
        if code is None:
            raise VerificationClosed("The server's secrets were changed; start a new one.")
        locale = row.locale or settings.default_locale
        if pending.channel == "voice":
            body, language = texts.voice_text(
                locale, settings.default_locale, settings.app_name, code
            )
        else:
            body, language = texts.sms_text(
                locale,
                settings.default_locale,
                settings.app_name,
                code,
                web_origin=row.web_origin,
                app_hash=row.app_hash,
            )
        reference = encode(row.number_digest + pending.send_id)
        return Message(row.e164, pending.channel, body, language, reference)

    def _undo(self, session: Session, pending: Pending, outcome: Outcome, *, first: bool) -> None:
        """Leave nothing behind of a send that for certain did not happen."""
        row = pending.row
        if first:
            values: dict[str, object] = {"status": "failed"}
        elif pending.channel == "sms":
            values = {"sms_count": Verification.sms_count - 1, "last_sms_at": pending.previous}
        else:
            values = {"call_count": Verification.call_count - 1, "last_call_at": pending.previous}
        key = VerificationKey(row.number_digest, row.nonce)
        session.execute(
            update(Verification)
            .where(*key.here(), Verification.status == "pending")
            .values(values)
            .execution_options(synchronize_session=False)
        )
        if isinstance(outcome.failure, SendUnavailable):
            # Not the requester's fault. A rejected number is, or a thief would try them all for free.
            limits.give_back(session, self._rules.sends, pending.subject)
        if pending.request:
            idempotency.release(session, pending.request)

    @staticmethod
    def _supersede(session: Session, row: Verification) -> None:
        """Cancel the same requester's older verifications of the number; a stranger's stay."""
        session.execute(
            update(Verification)
            .where(
                Verification.number_digest == row.number_digest,
                Verification.nonce != row.nonce,
                Verification.requester == row.requester,
                Verification.status == "pending",
                Verification.created_at <= row.created_at,
            )
            .values(status="canceled")
            .execution_options(synchronize_session=False)
        )

    # Checking

    def check(self, verification_id: str, body: CheckCode) -> VerificationAnswer:
        """Judge a code; raises CodeRejected when it is wrong."""
        key = VerificationKey.parse(verification_id)
        now = self._clock()
        with self._database.write() as session:
            row, refusal = self._judge(session, key, body.code, now)
        self._metrics.verifications.labels("code_rejected" if refusal else "verified").inc()
        if refusal:
            raise refusal
        return show(row, now, self._most_checks)

    def _judge(
        self, session: Session, key: VerificationKey, code: str, now: datetime
    ) -> tuple[Verification, Problem | None]:
        """Count a guess, then judge it; what is raised here rolls back a guess that was not judged."""
        row = session.scalar(
            update(Verification)
            .where(
                *key.here(),
                Verification.status == "pending",
                Verification.expires_at > now,
                Verification.checks_used < self._most_checks,
            )
            .values(checks_used=Verification.checks_used + 1)
            .returning(Verification)
        )
        if row is None:
            return self._judge_again(session, key, code, now), None
        digests = self._keyring.digests("number", row.e164)
        self._carry_over(session, digests)
        short = row.code_length == SHORT
        limit = self._rules.wrong_codes_6_digits if short else self._rules.wrong_codes
        allowed, allowance = limits.take(session, limit, digests[0], now)
        if not allowed:
            day = limits.peek(session, self._rules.wrong_codes, digests[0], now)
            if day.left > 0:
                raise LongerCodeRequired(
                    "Someone guesses at this number's codes, so 6 digits are not judged any more"
                    " today; start a new verification and get 8."
                )
            raise TooManyWrongCodes(
                "Someone guesses at this number's codes; try again later.", allowance=day
            )
        if self._codes.matches(row.key_id, key.whole, row.code_length, code):
            limits.give_back(session, limit, digests[0])
            row.status = "verified"
            row.expires_at = now + self._lifetime
            return row, None
        left = self._most_checks - row.checks_used
        if left <= 0:
            row.status = "failed"
        plural = "guess is" if left == 1 else "guesses are"
        return row, CodeRejected(f"{max(0, left)} {plural} left.", checks_left=max(0, left))

    def _judge_again(
        self, session: Session, key: VerificationKey, code: str, now: datetime
    ) -> Verification:
        """Answer a check of a verification that is over: the right code again is verified again."""
        row = load(session, key)
        if row.status == "verified" and self._codes.matches(
            row.key_id, key.whole, row.code_length, code
        ):
            return row
        require_pending(row, now, self._most_checks)
        raise VerificationClosed("It was closed just now.")

    # Reading and cancelling

    def get(self, verification_id: str) -> VerificationAnswer:
        """Show a verification."""
        key = VerificationKey.parse(verification_id)
        with self._database.read() as session:
            row = load(session, key)
        return show(row, self._clock(), self._most_checks)

    def cancel(self, verification_id: str) -> None:
        """Close a verification, so that its code and its proof are good for nothing."""
        key = VerificationKey.parse(verification_id)
        with self._database.write() as session:
            row = load(session, key, lock=True)
            if row.used_at is None and row.status in ("pending", "verified"):
                row.status = "canceled"

    # Repeated requests

    @staticmethod
    def _identify(
        key: VerificationKey,
        scope: bytes,
        route: str,
        idempotency_key: str | None,
        body: StartVerification | SendAgain,
    ) -> IdempotencyKey | None:
        if idempotency_key is None:
            return None
        return idempotency.identify(
            key.number_digest, scope, route, idempotency_key, body.model_dump_json()
        )

    def _answer_again(
        self,
        request: IdempotencyKey,
        earlier: idempotency.Earlier,
        do_it: Callable[[], Answered],
    ) -> Answered:
        """Give the first request's answer, waiting for it while that is still running.

        Does it after all when the first ended with nothing sent.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        found: idempotency.Earlier | None = earlier
        while found is not None:
            if found.answer is not None:
                return Answered(found.answer)
            if self._clock() - found.created_at >= ABANDONED_AFTER:
                # The process died between queueing and recording: it may have been sent, so it stays.
                with self._database.read() as session:
                    row = load(session, VerificationKey(request.owner, found.subject))
                return Answered(show(row, self._clock(), self._most_checks).model_dump_json())
            if time.monotonic() >= deadline:
                raise IdempotencyInProgress(
                    "Ask again with the same key for its answer.", retry_after=2
                )
            time.sleep(LOOK_SECONDS)
            with self._database.read() as session:
                found = idempotency.look_up(session, request)
        return do_it()

    def _carry_over(
        self, session: Session, digests: list[bytes], requesters: list[bytes] | None = None
    ) -> None:
        """While secrets are rotated, let counters under the previous one count on."""
        if len(digests) > 1:
            limits.carry_over(session, ("wrong-codes",), digests)
            if requesters:
                subjects = [_sends_subject(*pair) for pair in zip(digests, requesters, strict=True)]
                limits.carry_over(session, ("sends",), subjects)

    @staticmethod
    def purge(session: Session, now: datetime) -> int:
        """Delete a batch of verifications, a day after their time was over."""
        return purge(session, Verification, Verification.expires_at < now - KEPT)


def _sends_subject(number_digest: bytes, requester: bytes) -> bytes:
    return hashlib.sha256(number_digest + requester).digest()[:16]
