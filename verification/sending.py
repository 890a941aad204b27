"""Sends of codes: permitted and queued in one transaction, handed to a provider, recorded in a second."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core import idempotency, rate_limits
from core.database import Database
from core.idempotency import IdempotencyKey
from core.phone_numbers import prefix_of
from core.problems import Problem, RateLimitStatus
from core.rate_limits import RateLimit
from core.secrets import Keyring
from sms.problems import SendUnavailable
from sms.routing import Route
from sms.service import QueuedSend, SendResult, SendService
from verification import texts
from verification.codes import CodeBook
from verification.models import Verification
from verification.policy.challenge import Solution
from verification.policy.counters import sends_subject
from verification.policy.facts import SendAttempt
from verification.policy.known_numbers import is_known
from verification.policy.service import PolicyDecision, PolicyService
from verification.problems import ChallengeRejected, TooManySends, VerificationClosed
from verification.schemas import VerificationAnswer
from verification.settings import VerificationSettings
from verification.store import PreviousSend, VerificationKey, show, undo_send
from verification.supersession import NOTHING, Supersession, supersede


@dataclass(frozen=True)
class CodeSent:
    """A verification whose code was sent, now or by the first request with the same idempotency key."""

    key: VerificationKey
    #: What the client is shown; the stored text where the first request's answer is repeated.
    shown: VerificationAnswer | str
    #: What the requester has left for this number; None where nothing was counted.
    rate_limit: RateLimitStatus | None = None


class Permit(NamedTuple):
    """Who may send, and what the policy counted for it."""

    route: Route
    decision: PolicyDecision


@dataclass(frozen=True)
class QueuedCode:
    """A code that is queued and not yet handed to a provider."""

    row: Verification
    code: str = field(repr=False)
    send: QueuedSend
    decision: PolicyDecision
    #: The profile's limit that it was counted against.
    limit: RateLimit | None
    request: IdempotencyKey | None
    #: What a resend replaces; None for a first send.
    previous: PreviousSend | None
    supersession: Supersession


#: What a transaction began: a send, an answer without one, or a refusal that it has recorded.
Begun = QueuedCode | CodeSent | Problem


@dataclass(frozen=True)
class CodeSender:
    """Sends the codes of verifications."""

    database: Database
    settings: VerificationSettings
    keyring: Keyring
    codes: CodeBook
    policy: PolicyService
    sends: SendService
    clock: Callable[[], datetime]

    def permit(
        self,
        connection: Connection,
        attempt: SendAttempt,
        e164: str,
        service: str | None,
        solution: Solution | ChallengeRejected | None,
        request: IdempotencyKey | None,
    ) -> Permit | Problem:
        """Choose a route and ask the policy, which reserves the dearest price of the route.

        A refused request may come again with the same key and a solution. A service comes through another
        protocol, which has no place for a challenge.
        """
        if isinstance(solution, ChallengeRejected):
            # Not earlier: a repeated request gets its answer, however old its solution.
            raise solution
        route = self.sends.route(connection, attempt.country, attempt.channel)
        priced = replace(attempt, price_micros=route.dearest)
        digests = self.keyring.digests("number", e164)
        decision = self.policy.decide(
            connection,
            priced,
            solution,
            known=lambda: is_known(connection, e164, digests),
            can_challenge=service is None,
        )
        if decision.problem is None:
            return Permit(route, decision)
        if request:
            idempotency.release(connection, request)
        return decision.problem

    def queue(
        self,
        connection: Connection,
        row: Verification,
        permit: Permit | None,
        request: IdempotencyKey | None,
        limit: RateLimit | None = None,
        previous: PreviousSend | None = None,
        supersession: Supersession = NOTHING,
    ) -> QueuedCode | CodeSent:
        """Record a permitted send, and count it against the profile's limit.

        Nothing is sent without a permit, which is only left out for test numbers. Raises TooManySends.
        """
        if permit is None:
            return self._conclude(connection, row, request, supersession)
        code = self.codes.code(row.key_id, VerificationKey.of(row).raw, row.code_length)
        if code is None:
            raise VerificationClosed("The server's secrets were changed; start a new one.")
        if limit:
            subject = sends_subject(row.number_digest, row.requester)
            allowed, status = rate_limits.consume(connection, limit, subject, self.clock())
            if not allowed:
                raise TooManySends("The limit refills over the day.", rate_limit=status)
        send = self.sends.queue(
            connection,
            permit.route,
            number_digest=row.number_digest,
            verification_nonce=row.nonce,
            prefix=prefix_of(row.e164),
            first=previous is None,
        )
        return QueuedCode(row, code, send, permit.decision, limit, request, previous, supersession)

    def finish(self, begun: Begun) -> CodeSent:
        """Complete what a transaction began, outside of any.

        Raises the recorded refusal, and SendRejected, SendBlocked or SendUnavailable if certainly nothing was
        sent.
        """
        if isinstance(begun, Problem):
            raise begun
        if isinstance(begun, CodeSent):
            return begun
        body, language, spoken = self._text(begun)
        result = self.sends.dispatch(
            begun.send, to=begun.row.e164, body=body, language=language, spoken=spoken
        )
        with self.database.write() as connection:
            if result.problem:
                self._undo(connection, begun)
            else:
                rate_limit = begun.decision.rate_limit
                sent = self._conclude(
                    connection, begun.row, begun.request, begun.supersession, rate_limit
                )
            self.sends.record(connection, result)
            # Last, as in every transaction: all sends of a country lock these rows.
            self._settle(connection, begun, result)
        if result.problem:
            raise result.problem
        return sent

    def _conclude(
        self,
        connection: Connection,
        row: Verification,
        request: IdempotencyKey | None,
        supersession: Supersession,
        rate_limit: RateLimitStatus | None = None,
    ) -> CodeSent:
        """Supersede older verifications and store the answer, in the transaction that makes it true."""
        shown = show(row, self.clock(), self.settings.checks_per_verification)
        supersede(connection, row, supersession)
        if request:
            idempotency.answer(connection, request, shown.model_dump_json())
        return CodeSent(VerificationKey.of(row), shown, rate_limit)

    def _text(self, queued: QueuedCode) -> tuple[str, str, tuple[str, ...]]:
        """Return the text that is sent or spoken, its language, and its parts if it is spoken."""
        row, settings, code = queued.row, self.settings, queued.code
        locale = row.locale or settings.default_locale
        if queued.send.channel == "voice":
            return texts.call_script(locale, settings.default_locale, settings.app_name, code)
        if row.template is not None:
            return texts.fill_template(row.template, code), locale, ()
        body, language = texts.sms_text(
            locale,
            settings.default_locale,
            settings.app_name,
            code,
            web_origin=row.web_origin,
            app_hash=row.app_hash,
        )
        return body, language, ()

    def _settle(self, connection: Connection, queued: QueuedCode, result: SendResult) -> None:
        """Correct what was counted, by what was paid.

        A provider that is down is not the requester's fault. A rejected number is, or anyone could try all
        numbers for free.
        """
        paid = None if result.problem else result.price_micros
        keep_velocity = not isinstance(result.problem, SendUnavailable)
        if queued.limit and not keep_velocity:
            subject = sends_subject(queued.row.number_digest, queued.row.requester)
            rate_limits.refund(connection, queued.limit, subject)
        self.policy.settle(
            connection, queued.decision, paid_micros=paid, keep_velocity=keep_velocity
        )

    @staticmethod
    def _undo(connection: Connection, queued: QueuedCode) -> None:
        """Undo a send that certainly did not happen, so that its request may be tried again."""
        undo_send(connection, queued.row, queued.send.channel, queued.previous)
        if queued.request:
            idempotency.release(connection, queued.request)
