"""How a code reaches its owner: queued in one transaction, handed over, recorded in a second.

Owns what is said to the provider. Refuses to leave anything behind of a send that did not happen, and
to repeat one that may have.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, update

from core import idempotency, limits
from core.database import Database
from core.idempotency import IdempotencyKey
from core.limits import SENDS_BY_SERVICE, Limit
from core.phone_numbers import prefix_of
from core.problems import Problem
from core.requester import Requester
from core.secrets import Keyring
from sms.problems import SendUnavailable
from sms.routing import Route
from sms.service import Delivered, Queued, SendService
from verification import texts
from verification.codes import CodeBook
from verification.models import Verification
from verification.policy.challenge import Solution
from verification.policy.counters import sends_subject
from verification.policy.facts import Attempt
from verification.policy.owners import is_known
from verification.policy.rules import BUCKETS
from verification.policy.service import PolicyService, Ruling
from verification.problems import ChallengeRejected, TooManySends, VerificationClosed
from verification.settings import VerificationSettings
from verification.store import Answered, Before, key_of, show
from verification.supersession import NOTHING, Supersession, supersede
from verification.templates import fill


class Permit(NamedTuple):
    """The policy's word that a text or a call may be sent, and who may send it."""

    route: Route
    ruling: Ruling


@dataclass(frozen=True)
class Pending:
    """A send that is queued and not handed over yet."""

    row: Verification
    code: str = field(repr=False)
    send: Queued
    ruling: Ruling
    #: Its door's own limit, which it was counted against besides.
    limit: Limit | None
    request: IdempotencyKey | None
    #: What the verification showed before this send; None for its first.
    before: Before | None
    #: Which older verifications it ends; a resend ends none.
    supersession: Supersession


#: What a transaction began: a send, an answer that needs none, or a refusal that it has recorded.
Begun = Pending | Answered | Problem


class CodeSender:
    """Sends the codes of verifications."""

    def __init__(
        self,
        database: Database,
        settings: VerificationSettings,
        keyring: Keyring,
        codes: CodeBook,
        policy: PolicyService,
        sends: SendService,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._settings = settings
        self._keyring = keyring
        self._codes = codes
        self._policy = policy
        self._sends = sends
        self._clock = clock

    def permit(
        self,
        connection: Connection,
        attempt: Attempt,
        e164: str,
        service: str | None,
        solution: Solution | ChallengeRejected | None,
        request: IdempotencyKey | None,
    ) -> Permit | Problem:
        """Choose who may send, and ask the policy, which reserves the dearest of their prices.

        What it refuses may be asked again with the same key and a solution. A service comes through
        another protocol, which has no place for a challenge.
        """
        if isinstance(solution, ChallengeRejected):
            # Not before now: a request that was answered already gets its answer, however old.
            raise solution
        route = self._sends.route(connection, attempt.country, attempt.channel)
        priced = replace(attempt, price_micros=route.dearest)
        digests = self._keyring.digests("number", e164)
        ruling = self._policy.judge(
            connection,
            priced,
            solution,
            known=lambda: is_known(connection, e164, digests),
            asks=service is None,
        )
        if ruling.problem is None:
            return Permit(route, ruling)
        if request:
            idempotency.release(connection, request)
        return ruling.problem

    def queue(
        self,
        connection: Connection,
        row: Verification,
        permit: Permit,
        request: IdempotencyKey | None,
        limit: Limit | None = None,
        before: Before | None = None,
        supersession: Supersession = NOTHING,
    ) -> Pending:
        """Record a send that is permitted, and count it against its door's own limit if it has one.

        Raises TooManySends; nothing is handed over yet.
        """
        code = self._code(row)
        if limit:
            subject = sends_subject(row.number_digest, row.requester)
            allowed, allowance = limits.take(connection, limit, subject, self._clock())
            if not allowed:
                raise TooManySends("The limit refills over the day.", allowance=allowance)
        send = self._sends.queue(
            connection,
            permit.route,
            number_digest=row.number_digest,
            verification=row.nonce,
            prefix=prefix_of(row.e164),
            first=before is None,
        )
        return Pending(row, code, send, permit.ruling, limit, request, before, supersession)

    def _code(self, row: Verification) -> str:
        code = self._codes.code(row.key_id, key_of(row).whole, row.code_length)
        if code is None:
            raise VerificationClosed("The server's secrets were changed; start a new one.")
        return code

    def finish(self, begun: Begun) -> Answered:
        """Do what is to be done outside of the transaction that began it.

        Raises what was refused there, or why it could not be sent.
        """
        if isinstance(begun, Problem):
            raise begun
        return begun if isinstance(begun, Answered) else self._hand_over(begun)

    def _hand_over(self, pending: Pending) -> Answered:
        """Have it sent outside of any transaction, then record how that ended.

        Raises SendRejected, SendBlocked or SendUnavailable when for certain nothing was sent.
        """
        row = pending.row
        body, language, spoken = self._text(pending)
        delivered = self._sends.deliver(
            pending.send, to=row.e164, body=body, language=language, spoken=spoken
        )
        most_checks = self._settings.checks_per_verification
        answer = show(row, self._clock(), most_checks).model_dump_json()
        with self._database.write() as connection:
            if delivered.failure:
                self._undo(connection, pending)
            else:
                supersede(connection, row, pending.supersession)
                if pending.request:
                    idempotency.answer(connection, pending.request, answer)
            self._sends.record(connection, delivered)
            # Last, as in every transaction: all sends of a country lock these rows.
            self._settle(connection, pending, delivered)
        if delivered.failure:
            raise delivered.failure
        return Answered(answer, pending.ruling.allowance)

    def conclude(
        self,
        connection: Connection,
        row: Verification,
        request: IdempotencyKey | None,
        supersession: Supersession = NOTHING,
    ) -> Answered:
        """Answer a send to a test number, of which no provider hears: nothing is sent or counted."""
        answer = show(row, self._clock(), self._settings.checks_per_verification).model_dump_json()
        supersede(connection, row, supersession)
        if request:
            idempotency.answer(connection, request, answer)
        return Answered(answer)

    def _text(self, pending: Pending) -> tuple[str, str, tuple[str, ...]]:
        """Write what is sent or said, name its language, and give the parts of what is said."""
        row, settings, code = pending.row, self._settings, pending.code
        locale = row.locale or settings.default_locale
        if pending.send.channel == "voice":
            return texts.call(locale, settings.default_locale, settings.app_name, code)
        if row.template is not None:
            return fill(row.template, code), locale, ()
        body, language = texts.sms_text(
            locale,
            settings.default_locale,
            settings.app_name,
            code,
            web_origin=row.web_origin,
            app_hash=row.app_hash,
        )
        return body, language, ()

    def _settle(self, connection: Connection, pending: Pending, delivered: Delivered) -> None:
        """Put right what was counted, by what was paid.

        A provider that is away is not the requester's fault. A rejected number is, or all could be tried
        for free.
        """
        paid = None if delivered.failure else delivered.price_micros
        asked_for = not isinstance(delivered.failure, SendUnavailable)
        if pending.limit and not asked_for:
            subject = sends_subject(pending.row.number_digest, pending.row.requester)
            limits.give_back(connection, pending.limit, subject)
        self._policy.settle(connection, pending.ruling, paid_micros=paid, asked_for=asked_for)

    def _undo(self, connection: Connection, pending: Pending) -> None:
        """Leave nothing behind of a send that for certain did not happen."""
        row, before = pending.row, pending.before
        if before is None:
            values: dict[str, object] = {"status": "failed"}
        elif pending.send.channel == "sms":
            values = {"sms_count": Verification.sms_count - 1, "last_sms_at": before.at}
        else:
            values = {"call_count": Verification.call_count - 1, "last_call_at": before.at}
        if before:
            values["channel"] = before.channel
        connection.execute(
            update(Verification)
            .where(
                *key_of(row).here(),
                Verification.status == "pending",
            )
            .values(values)
        )
        if pending.request:
            idempotency.release(connection, pending.request)


def carry_over(
    connection: Connection, keyring: Keyring, e164: str, requesters: list[bytes] | None = None
) -> None:
    """While secrets are rotated, let counters under the previous one count on."""
    digests = keyring.digests("number", e164)
    if len(digests) > 1:
        limits.carry_over(
            connection, ("wrong-codes", BUCKETS["number"], BUCKETS["reserve-number"]), digests
        )
        if requesters:
            subjects = [sends_subject(*pair) for pair in zip(digests, requesters, strict=True)]
            own = (BUCKETS["number-and-requester"], SENDS_BY_SERVICE)
            limits.carry_over(connection, own, subjects)
            limits.carry_over(connection, (BUCKETS["network"],), requesters)


def carry_back(
    connection: Connection, keyring: Keyring, row: Verification, requester: Requester
) -> None:
    """Let counters count on for a resend of a verification from before the secret was rotated.

    Its sends are counted under the digests it was begun with; a later start moved the counters from there.
    """
    numbers = keyring.digests("number", row.e164)
    if row.number_digest not in numbers[1:]:
        return
    of_number = (BUCKETS["number"], BUCKETS["reserve-number"])
    limits.carry_over(connection, of_number, [row.number_digest, numbers[0]])
    by = keyring.digests("requester", requester.network)
    if row.requester in by:
        before = sends_subject(row.number_digest, row.requester)
        now = sends_subject(numbers[0], by[0])
        limits.carry_over(
            connection, (BUCKETS["number-and-requester"], SENDS_BY_SERVICE), [before, now]
        )
        limits.carry_over(connection, (BUCKETS["network"],), [row.requester, by[0]])
