"""Stored verifications: the key, every statement on one row, and how a row is shown.

The statements over several rows are in proofs.py and supersession.py.
"""

from collections import namedtuple
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Executable, bindparam, select, update

from core.base64url import decode, encode
from core.database import table
from verification.models import Verification
from verification.policy.facts import SendAttempt
from verification.problems import (
    NoSendsLeft,
    SendTooSoon,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
)
from verification.resend_schedule import SendHistory
from verification.schemas import Channel, Status, VerificationAnswer


@dataclass(frozen=True)
class VerificationKey:
    """The key of a verification: its number's digest and a nonce, 16 bytes each, and its service.

    service: whose verification it is, behind a protocol adapter; None on the native routes.
    """

    number_digest: bytes
    nonce: bytes
    service: str | None = None

    @property
    def raw(self) -> bytes:
        """The id in 32 bytes."""
        return self.number_digest + self.nonce

    @property
    def id(self) -> str:
        """The id that clients know."""
        return encode(self.raw)

    @property
    def parameters(self) -> dict[str, Any]:
        """The bind parameters that name the row; SQLAlchemy reserves the bare column names for SET."""
        return {
            "key_number_digest": self.number_digest,
            "key_nonce": self.nonce,
            "key_service": self.service,
        }

    @classmethod
    def parse(cls, text: str, service: str | None = None) -> "VerificationKey":
        """Parse an id; raises VerificationNotFound if it cannot be one."""
        data = decode(text, 32)
        if data is None:
            raise VerificationNotFound("Start a verification to get an id.")
        return cls(data[:16], data[16:], service)

    @classmethod
    def of(cls, row: Verification) -> "VerificationKey":
        """Return the key of a row."""
        return cls(row.number_digest, row.nonce, row.service)


_ROWS = table(Verification)
_IS_KEY = (
    _ROWS.c.number_digest == bindparam("key_number_digest"),
    _ROWS.c.nonce == bindparam("key_nonce"),
    _ROWS.c.service.is_not_distinct_from(bindparam("key_service")),
)
INSERT_VERIFICATION = _ROWS.insert()
SELECT_VERIFICATION = select(*_ROWS.columns).where(*_IS_KEY)
LOCK_VERIFICATION = SELECT_VERIFICATION.with_for_update()
UPDATE_CHECKS_USED = (
    update(_ROWS)
    .where(
        *_IS_KEY,
        _ROWS.c.status == "pending",
        _ROWS.c.expires_at > bindparam("now"),
        _ROWS.c.checks_used < bindparam("max_checks"),
        _ROWS.c.code_length == bindparam("key_code_length"),
    )
    .values(checks_used=_ROWS.c.checks_used + 1)
    .returning(*_ROWS.columns)
)

#: A row as it was read or written: a value, typed by its model. Only the functions here change the table.
_NAMES = _ROWS.columns.keys()
_Values: Any = cast(Any, namedtuple)("_Values", _NAMES, defaults=[None] * len(_NAMES))


class PreviousSend(NamedTuple):
    """What a resend replaces: the channel used last, and when its own channel was used last."""

    channel: str
    at: datetime | None


def create(connection: Connection, attempt: SendAttempt, **values: Any) -> Verification:
    """Insert the verification of a first send and return it; columns that are not named are NULL."""
    count, last = _columns_of(attempt.channel)
    values |= {
        "number_digest": attempt.number_digest,
        "nonce": attempt.verification_nonce,
        "requester": attempt.network,
        "subnet": attempt.subnet,
        "country": attempt.country,
        "status": "pending",
        "channel": attempt.channel,
        "checks_used": 0,
        "sms_count": 0,
        "call_count": 0,
        "last_sms_at": None,
        "last_call_at": None,
        "created_at": attempt.at,
        "reregistered": False,
    }
    values |= {count: 1, last: attempt.at}
    connection.execute(INSERT_VERIFICATION, values)
    return cast(Verification, _Values(**values))


def load(connection: Connection, key: VerificationKey, *, lock: bool = False) -> Verification:
    """Read a verification; `lock` locks its row until the transaction ends.

    Raises VerificationNotFound.
    """
    statement = LOCK_VERIFICATION if lock else SELECT_VERIFICATION
    row = connection.execute(statement, key.parameters).one_or_none()
    if row is None:
        raise VerificationNotFound("It was deleted or never existed; start a new one.")
    return cast(Verification, _Values._make(row))


def count_check(
    connection: Connection, key: VerificationKey, now: datetime, max_checks: int, code_length: int
) -> Verification | None:
    """Count a check of a pending verification, in one statement; None if it has none left.

    A text of another length cannot be the code and is not counted.
    """
    values = {"now": now, "max_checks": max_checks, "key_code_length": code_length}
    row = connection.execute(UPDATE_CHECKS_USED, values | key.parameters).one_or_none()
    return None if row is None else cast(Verification, _Values._make(row))


def save(connection: Connection, row: Verification, **changes: Any) -> Verification:
    """Change a verification whose row the transaction holds; return the changed row."""
    values = {f"new_{name}": value for name, value in changes.items()}
    connection.execute(_update(tuple(changes)), values | VerificationKey.of(row).parameters)
    return cast(Verification, cast(Any, row)._replace(**changes))


@cache
def _update(names: tuple[str, ...]) -> Executable:
    changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    return update(_ROWS).where(*_IS_KEY).values(changes)


def count_resend(
    connection: Connection, row: Verification, channel: Channel, now: datetime
) -> tuple[Verification, PreviousSend]:
    """Count a resend; return the changed row, and what the resend replaces."""
    count, last = _columns_of(channel)
    previous = PreviousSend(row.channel, getattr(row, last))
    changes = {"channel": channel, count: getattr(row, count) + 1, last: now}
    return save(connection, row, **changes), previous


def undo_send(
    connection: Connection, row: Verification, channel: Channel, previous: PreviousSend | None
) -> None:
    """Undo a send that certainly did not happen, if the verification is still pending.

    Without a `previous` one it was the first, and the verification fails.
    """
    values: dict[str, Any] = {"status": "failed"}
    if previous is not None:
        count, last = _columns_of(channel)
        values = {"channel": previous.channel, count: _ROWS.c[count] - 1, last: previous.at}
    statement = update(_ROWS).where(*_IS_KEY, _ROWS.c.status == "pending").values(values)
    connection.execute(statement, VerificationKey.of(row).parameters)


def _columns_of(channel: Channel) -> tuple[str, str]:
    """Return the columns that hold how often and when a channel was used."""
    return ("sms_count", "last_sms_at") if channel == "sms" else ("call_count", "last_call_at")


def status_of(row: Verification, now: datetime) -> Status:
    """Return the status; a pending verification whose time is over is expired."""
    if row.status == "pending" and row.expires_at <= now:
        return "expired"
    return cast(Status, row.status)


def require_pending(row: Verification, now: datetime) -> None:
    """Raise VerificationExpired or VerificationClosed unless a verification is pending."""
    status = status_of(row, now)
    if status == "expired":
        raise VerificationExpired("Its time is over; start a new one.")
    if status != "pending":
        raise VerificationClosed(f"It is {status}; start a new one.")


def require_resend(row: Verification, channel: Channel, now: datetime) -> None:
    """Raise NoSendsLeft or SendTooSoon unless the schedule allows a resend now."""
    wait = _history(row).seconds_until(channel, now)
    if wait is None:
        raise NoSendsLeft("Wait for the message that was sent, or start a new verification later.")
    if wait > 0:
        raise SendTooSoon(f"Try again in {wait} seconds.", retry_after=wait)


def show(row: Verification, now: datetime, max_checks: int) -> VerificationAnswer:
    """Return what a client that knows the id sees of a verification."""
    status = status_of(row, now)
    sent = _history(row)
    pending = status == "pending"
    return VerificationAnswer(
        id=VerificationKey.of(row).id,
        phone_number=row.e164,
        status=status,
        channel=cast(Any, row.channel),
        code_length=row.code_length,
        expires_at=row.expires_at,
        checks_left=max(0, max_checks - row.checks_used) if pending else 0,
        next_sms_in=sent.seconds_until("sms", now) if pending else None,
        next_voice_in=sent.seconds_until("voice", now) if pending else None,
    )


def _history(row: Verification) -> SendHistory:
    return SendHistory(
        row.created_at,
        row.expires_at,
        row.sms_count,
        row.call_count,
        row.last_sms_at,
        row.last_call_at,
    )
