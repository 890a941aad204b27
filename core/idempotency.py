"""Idempotency keys: the same request sent twice is done once and answered the same.

Follows draft-ietf-httpapi-idempotency-key-header. Owns the record of who asked what and what was
answered. A claim and what it pays for are written in one transaction; the answer is written with the
outcome. Refuses a key that comes back with another request. Answers hold no secrets.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, LargeBinary, Text, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from core.database import Base, Database, confirm, insert, purge
from core.problems import IdempotencyInProgress, IdempotencyKeyReused

KEPT = timedelta(days=1)
#: A first request that has not answered in this long was cut off by a crash; longer than any provider
#: may take.
ABANDONED_AFTER = timedelta(seconds=120)
#: How long a repeated request waits for the first one's answer, and how often it looks.
WAIT_SECONDS, LOOK_SECONDS = 15.0, 0.02


class IdempotencyRecord(Base):
    """One request that carried an idempotency key, and its answer once there is one."""

    __tablename__ = "idempotency_keys"
    __table_args__ = {"info": {"shard_by": "owner"}, "sqlite_with_rowid": False}

    #: Digest of the number that the request is about, or the account that asks.
    owner: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: SHA-256 over route, requester and key.
    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    #: SHA-256 over the request's fields.
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    #: What the request made, so that an answer can be given even after a crash.
    subject: Mapped[bytes] = mapped_column(LargeBinary(16))
    #: The JSON that was answered; None while the first request is still running.
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(index=True)


class IdempotencyKey(NamedTuple):
    """A request's identity: `owner` and `key` find it, `fingerprint` proves it is the same."""

    owner: bytes
    key: bytes
    fingerprint: bytes


@dataclass(frozen=True)
class Earlier:
    """What is known of the first request: what it made, when, and what was answered if it was."""

    subject: bytes
    answer: str | None
    created_at: datetime


def identify(owner: bytes, scope: bytes, route: str, key: str, request: str) -> IdempotencyKey:
    """Name a request; `scope` separates requesters, so that a weak key shares nothing."""
    material = b"\x00".join([route.encode(), scope.hex().encode(), key.encode()])
    return IdempotencyKey(
        owner, hashlib.sha256(material).digest(), hashlib.sha256(request.encode()).digest()
    )


def claim(
    connection: Connection, key: IdempotencyKey | None, subject: bytes, now: datetime
) -> Earlier | None:
    """Claim a key for a new request about `subject`; give the earlier request if there is one.

    A request without a key is always new. Raises IdempotencyKeyReused when the earlier request was
    another one.
    """
    if key is None:
        return None
    claimed = connection.execute(
        insert(connection, IdempotencyRecord)
        .values(
            owner=key.owner,
            key=key.key,
            fingerprint=key.fingerprint,
            subject=subject,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyRecord.subject)
    ).one_or_none()
    if claimed:
        return None
    confirm(connection)
    return look_up(connection, key)


def claim_over(
    connection: Connection,
    key: IdempotencyKey | None,
    before: Sequence[IdempotencyKey | None],
    subject: bytes,
    now: datetime,
) -> tuple[IdempotencyKey | None, Earlier | None]:
    """Claim as `claim`, unless the request came under one of the keys that it had before.

    Gives the earlier request, and the key it came under.
    """
    for old in before:
        earlier = look_up(connection, old) if old else None
        if earlier:
            confirm(connection)
            return old, earlier
    return key, claim(connection, key, subject, now)


def look_up(connection: Connection, key: IdempotencyKey) -> Earlier | None:
    """Give the earlier request of a key; None when it was never made or was released."""
    row = connection.execute(
        select(
            IdempotencyRecord.fingerprint,
            IdempotencyRecord.subject,
            IdempotencyRecord.answer,
            IdempotencyRecord.created_at,
        ).where(*_here(key))
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key came with a different request before; make a new one."
        )
    return Earlier(row.subject, row.answer, row.created_at)


def wait(
    database: Database, key: IdempotencyKey, earlier: Earlier, clock: Callable[[], datetime]
) -> Earlier | None:
    """Wait until the first request is answered; None when it was released.

    One that was cut off by a crash is given without an answer, for its subject tells what became of
    it. Raises IdempotencyInProgress when the first request takes too long.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    found: Earlier | None = earlier
    while found is not None and found.answer is None:
        if clock() - found.created_at >= ABANDONED_AFTER:
            break
        if time.monotonic() >= deadline:
            raise IdempotencyInProgress(
                "Ask again with the same key for its answer.", retry_after=2
            )
        time.sleep(LOOK_SECONDS)
        with database.read() as connection:
            found = look_up(connection, key)
    if found is not None and found is not earlier:
        with database.write() as connection:
            confirm(connection)
    return found


def answer(connection: Connection, key: IdempotencyKey, body: str) -> None:
    """Keep what was answered, in the transaction that makes it true."""
    connection.execute(update(IdempotencyRecord).where(*_here(key)).values(answer=body))


def release(connection: Connection, key: IdempotencyKey) -> None:
    """Forget a request of which nothing stays behind, so that it may be tried again."""
    connection.execute(delete(IdempotencyRecord).where(*_here(key)))


def purge_old(connection: Connection, now: datetime) -> int:
    """Delete a batch of records whose time is over."""
    return purge(connection, IdempotencyRecord, IdempotencyRecord.created_at < now - KEPT)


def _here(key: IdempotencyKey) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return IdempotencyRecord.owner == key.owner, IdempotencyRecord.key == key.key
