"""How a code reaches its owner: counted and queued in one transaction, handed over, recorded in a second.

Owns what is said to the provider. Refuses to leave anything behind of a send that did not happen, and
to repeat one that may have.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, update

from core import idempotency, limits
from core.base64url import encode
from core.database import Database, table
from core.idempotency import IdempotencyKey
from core.limits import Limit
from core.problems import Allowance
from core.secrets import Keyring
from core.settings import Settings
from sms.delivery import DeliveryService, Outcome
from sms.problems import SendUnavailable
from sms.provider import Channel, Message
from sms.service import SendService
from verification import texts
from verification.codes import CodeBook
from verification.models import Verification
from verification.problems import TooManySends, VerificationClosed
from verification.sessions import Answered, key_of, show
from verification.templates import fill


class Before(NamedTuple):
    """What a resend replaces: the channel used last, and when the channel asked for was."""

    channel: str
    at: datetime | None


@dataclass(frozen=True)
class Pending:
    """A send that is queued and not handed over yet."""

    row: Verification
    code: str = field(repr=False)
    send_id: bytes
    channel: Channel
    #: The limit it was counted against, and for whom.
    limit: Limit
    subject: bytes
    allowance: Allowance
    request: IdempotencyKey | None
    #: What the verification showed before this send; None for its first.
    before: Before | None
    #: Whose older verifications it supersedes: digests of number and requester under every accepted
    #: secret; none for a resend, which supersedes nothing.
    owners: Sequence[tuple[bytes, bytes]]


_ROWS = table(Verification)
_SUPERSEDING = (
    update(_ROWS)
    .where(
        _ROWS.c.number_digest == bindparam("of"),
        _ROWS.c.nonce != bindparam("newest"),
        _ROWS.c.requester == bindparam("by"),
        _ROWS.c.status == "pending",
        _ROWS.c.created_at <= bindparam("until"),
    )
    .values(status="canceled")
)


class CodeSender:
    """Sends the codes of verifications."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        codes: CodeBook,
        sends: SendService,
        deliveries: DeliveryService,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._settings = settings
        self._codes = codes
        self._sends = sends
        self._deliveries = deliveries
        self._clock = clock

    def queue(
        self,
        connection: Connection,
        row: Verification,
        limit: Limit,
        request: IdempotencyKey | None,
        before: Before | None = None,
        owners: Sequence[tuple[bytes, bytes]] = (),
    ) -> Pending:
        """Count a send on the row's channel against a limit and record it.

        Raises TooManySends; nothing is handed over yet.
        """
        code = self._code(row)
        subject = sends_subject(row.number_digest, row.requester)
        allowed, allowance = limits.take(connection, limit, subject, self._clock())
        if not allowed:
            raise TooManySends("The limit refills over the day.", allowance=allowance)
        channel: Channel = "voice" if row.channel == "voice" else "sms"
        send_id = self._sends.queue(connection, row.number_digest, row.nonce, channel)
        return Pending(
            row, code, send_id, channel, limit, subject, allowance, request, before, owners
        )

    def _code(self, row: Verification) -> str:
        code = self._codes.code(row.key_id, key_of(row).whole, row.code_length)
        if code is None:
            raise VerificationClosed("The server's secrets were changed; start a new one.")
        return code

    def hand_over(self, pending: Pending) -> Answered:
        """Call the provider outside of any transaction, then record what it answered.

        Raises SendRejected, SendBlocked or SendUnavailable when for certain nothing was sent.
        """
        row = pending.row
        outcome = self._sends.dispatch(self._message(pending))
        most_checks = self._settings.checks_per_verification
        answer = show(row, self._clock(), most_checks).model_dump_json()
        with self._database.write() as connection:
            self._deliveries.record(
                connection, self._sends.provider_name, row.number_digest, pending.send_id, outcome
            )
            if outcome.failure:
                self._undo(connection, pending, outcome)
            else:
                _supersede(connection, row, pending.owners)
                if pending.request:
                    idempotency.answer(connection, pending.request, answer)
        if outcome.failure:
            raise outcome.failure
        return Answered(answer, pending.allowance)

    def _message(self, pending: Pending) -> Message:
        row, settings, code = pending.row, self._settings, pending.code
        locale = row.locale or settings.default_locale
        if pending.channel == "voice":
            body, language = texts.voice_text(
                locale, settings.default_locale, settings.app_name, code
            )
        elif row.template is not None:
            body, language = fill(row.template, code), locale
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

    def _undo(self, connection: Connection, pending: Pending, outcome: Outcome) -> None:
        """Leave nothing behind of a send that for certain did not happen."""
        row, before = pending.row, pending.before
        if before is None:
            values: dict[str, object] = {"status": "failed"}
        elif pending.channel == "sms":
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
        if isinstance(outcome.failure, SendUnavailable):
            # Not the requester's fault. A rejected number is, or all could be tried for free.
            limits.give_back(connection, pending.limit, pending.subject)
        if pending.request:
            idempotency.release(connection, pending.request)


def _supersede(
    connection: Connection, row: Verification, owners: Sequence[tuple[bytes, bytes]]
) -> None:
    """Cancel the same requester's older verifications of the number; a stranger's stay."""
    for number_digest, requester in owners:
        connection.execute(
            _SUPERSEDING,
            {
                "of": number_digest,
                "newest": row.nonce,
                "by": requester,
                "until": row.created_at,
            },
        )


def sends_subject(number_digest: bytes, requester: bytes) -> bytes:
    """Name a number and requester together, as the limit on sends counts them."""
    return hashlib.sha256(number_digest + requester).digest()[:16]


def carry_over(
    connection: Connection, keyring: Keyring, e164: str, requesters: list[bytes] | None = None
) -> None:
    """While secrets are rotated, let counters under the previous one count on."""
    digests = keyring.digests("number", e164)
    if len(digests) > 1:
        limits.carry_over(connection, ("wrong-codes",), digests)
        if requesters:
            subjects = [sends_subject(*pair) for pair in zip(digests, requesters, strict=True)]
            limits.carry_over(connection, ("sends",), subjects)
