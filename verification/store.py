"""One verification as the rules see it: its id, its state now, and how it is shown.

Owns reading the row and what a closed or expired verification is answered.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Executable, bindparam, select, update
from sqlalchemy.sql.elements import ColumnElement

from core.base64url import decode, encode
from core.database import table
from core.problems import Allowance
from verification.models import Verification
from verification.policy.facts import Attempt
from verification.problems import (
    ChecksExhausted,
    NoSendsLeft,
    SendTooSoon,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
)
from verification.resend_schedule import History
from verification.schemas import Channel, Status, VerificationAnswer


@dataclass(frozen=True)
class VerificationKey:
    """The two halves of a verification's id, and the service whose it is; natively it is nobody's."""

    number_digest: bytes
    nonce: bytes
    service: str | None = None

    @property
    def whole(self) -> bytes:
        """Both halves, 32 bytes."""
        return self.number_digest + self.nonce

    @property
    def id(self) -> str:
        """The id as clients know it."""
        return encode(self.whole)

    @classmethod
    def parse(cls, text: str) -> "VerificationKey":
        """Read an id; raises VerificationNotFound for what cannot be one."""
        data = decode(text, 32)
        if data is None:
            raise VerificationNotFound("Start a verification to get an id.")
        return cls(data[:16], data[16:])

    def here(self) -> Sequence[ColumnElement[bool]]:
        """Name this verification's row in a statement."""
        return (
            Verification.number_digest == self.number_digest,
            Verification.nonce == self.nonce,
            Verification.service.is_not_distinct_from(self.service),
        )


@dataclass(frozen=True)
class Answered:
    """What a verification call answers: the JSON text, and the allowance it announces."""

    body: str
    allowance: Allowance | None = None


_ROWS = table(Verification)
_HERE = (
    _ROWS.c.number_digest == bindparam("digest"),
    _ROWS.c.nonce == bindparam("half"),
    _ROWS.c.service.is_not_distinct_from(bindparam("whose")),
)
_STORING = _ROWS.insert()
_LOADING = select(*_ROWS.columns).where(*_HERE)
_LOCKING = _LOADING.with_for_update()
_COUNTING = (
    update(_ROWS)
    .where(
        *_HERE,
        _ROWS.c.status == "pending",
        _ROWS.c.expires_at > bindparam("now"),
        _ROWS.c.checks_used < bindparam("most"),
        _ROWS.c.code_length == bindparam("digits"),
    )
    .values(checks_used=_ROWS.c.checks_used + 1)
    .returning(*_ROWS.columns)
)

#: A verification as it was read or written: a value, typed by its model; what changes goes by `save`.
_NAMES = _ROWS.columns.keys()
_Values: Any = cast(Any, namedtuple)("_Values", _NAMES, defaults=[None] * len(_NAMES))


def store(connection: Connection, attempt: Attempt, **values: Any) -> Verification:
    """Write the verification of a first send and give it; columns that are not named are NULL."""
    voice, at = attempt.channel == "voice", attempt.at
    values |= {
        "number_digest": attempt.number_digest,
        "nonce": attempt.verification,
        "requester": attempt.network,
        "wider": attempt.wider,
        "country": attempt.country,
        "status": "pending",
        "channel": attempt.channel,
        "checks_used": 0,
        "sms_count": int(not voice),
        "call_count": int(voice),
        "last_sms_at": None if voice else at,
        "last_call_at": at if voice else None,
        "created_at": at,
        "reregistered": False,
    }
    connection.execute(_STORING, values)
    return cast(Verification, _Values(**values))


def load(connection: Connection, key: VerificationKey, *, lock: bool = False) -> Verification:
    """Read a verification; `lock` holds its row to the end of the transaction."""
    row = connection.execute(_LOCKING if lock else _LOADING, _parameters(key)).one_or_none()
    if row is None:
        raise VerificationNotFound("It was purged, or never was; start a new one.")
    return cast(Verification, _Values._make(row))


def count_check(
    connection: Connection, key: VerificationKey, now: datetime, most_checks: int, digits: int
) -> Verification | None:
    """Take one check of a pending verification, in one statement; None when it has none to take.

    A verification whose code does not have as many digits has none: what cannot be its code is no guess.
    """
    values = {"now": now, "most": most_checks, "digits": digits} | _parameters(key)
    row = connection.execute(_COUNTING, values).one_or_none()
    return None if row is None else cast(Verification, _Values._make(row))


def save(connection: Connection, row: Verification, **changes: Any) -> Verification:
    """Change a verification whose row the transaction holds; give it as it is now."""
    values = {f"new_{name}": value for name, value in changes.items()}
    values |= _parameters(key_of(row))
    connection.execute(_saving(tuple(changes)), values)
    return cast(Verification, cast(Any, row)._replace(**changes))


@cache
def _saving(names: tuple[str, ...]) -> Executable:
    changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    return update(_ROWS).where(*_HERE).values(changes)


def _parameters(key: VerificationKey) -> dict[str, Any]:
    return {"digest": key.number_digest, "half": key.nonce, "whose": key.service}


def key_of(row: Verification) -> VerificationKey:
    """Give the key that finds a verification's row."""
    return VerificationKey(row.number_digest, row.nonce, row.service)


def status_of(row: Verification, now: datetime) -> Status:
    """Say what a verification is now."""
    if row.status == "pending" and row.expires_at <= now:
        return "expired"
    return cast(Status, row.status)


def history(row: Verification) -> History:
    """Give what a verification sent so far."""
    return History(
        row.created_at,
        row.expires_at,
        row.sms_count,
        row.call_count,
        row.last_sms_at,
        row.last_call_at,
    )


def require_pending(
    row: Verification, now: datetime, most_checks: int, next_start_in: Callable[[], int]
) -> None:
    """Refuse a verification that is over, with the reason.

    `next_start_in` says in how many seconds a new one of its number can be started.
    """
    status = status_of(row, now)
    if status == "expired":
        raise VerificationExpired("Its time is over; start a new one.")
    if status == "failed" and row.checks_used >= most_checks:
        wait = next_start_in()
        when = f" in {wait} seconds" if wait else ""
        raise ChecksExhausted(
            f"All guesses are used; start a new verification{when}.",
            retry_after=wait,
            checks_left=0,
        )
    if status != "pending":
        raise VerificationClosed(f"It is {status}; start a new one.")


class Before(NamedTuple):
    """What a resend replaces: the channel used last, and when the channel asked for was."""

    channel: str
    at: datetime | None


def require_step(row: Verification, channel: Channel, now: datetime) -> None:
    """Refuse a resend that the ladder does not hold, or not yet."""
    wait = history(row).seconds_until(channel, now)
    if wait is None:
        raise NoSendsLeft("Wait for what was sent, or start a new verification later.")
    if wait > 0:
        raise SendTooSoon(f"The next one comes in {wait} seconds.", retry_after=wait)


def climb(
    connection: Connection, row: Verification, channel: Channel, now: datetime
) -> tuple[Verification, Before]:
    """Take the next step of the ladder; give the row, and what the step replaces."""
    if channel == "sms":
        counts: dict[str, object] = {"sms_count": row.sms_count + 1, "last_sms_at": now}
        before = Before(row.channel, row.last_sms_at)
    else:
        counts = {"call_count": row.call_count + 1, "last_call_at": now}
        before = Before(row.channel, row.last_call_at)
    return save(connection, row, channel=channel, **counts), before


def show(row: Verification, now: datetime, most_checks: int) -> VerificationAnswer:
    """Render a verification for whoever knows its id."""
    status = status_of(row, now)
    sent = history(row)
    pending = status == "pending"
    return VerificationAnswer(
        id=key_of(row).id,
        phone_number=row.e164,
        status=status,
        channel=cast(Any, row.channel),
        code_length=row.code_length,
        expires_at=row.expires_at,
        checks_left=max(0, most_checks - row.checks_used) if pending else 0,
        next_sms_in=sent.seconds_until("sms", now) if pending else None,
        next_voice_in=sent.seconds_until("voice", now) if pending else None,
    )
