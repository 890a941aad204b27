"""Idempotency keys: a request that is sent twice is performed once and answered the same.

Follows draft-ietf-httpapi-idempotency-key-header. A claim and what it pays for are written in one
transaction; the answer is written with the outcome. Stored answers hold no tokens, which are derived again
(docs/adr/0006).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, LargeBinary, Text, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from core.database import Base, confirm, insert, purge
from core.problems import IdempotencyKeyReused

RETENTION = timedelta(days=1)
#: A first request without an answer after this time was ended by a crash; longer than any provider may take.
ABANDONED_AFTER = timedelta(seconds=120)
#: Characters of a key that nobody can guess: 128 bits as base64url. Such a key returns its answer to any
#: network.
SECRET_KEY_LENGTH = 22


class IdempotencyRecord(Base):
    """One request that carried an idempotency key, and its answer once there is one."""

    __tablename__ = "idempotency_keys"
    __table_args__ = {"info": {"shard_by": "owner"}, "sqlite_with_rowid": False}

    #: Digest of the number that the request is about, or the account that asks.
    owner: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: SHA-256 over route and key, and over the requester if the key is short.
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
class FirstRequest:
    """The first request with a key: what it created, when, and its answer if it has one."""

    subject: bytes
    answer: str | None
    created_at: datetime


def is_secret(key: str | None) -> bool:
    """Return whether a key is long enough that only who made it knows it.

    Others behind the same address may choose a shorter one too, such as register-1: it prevents repetition,
    but returns no id and no token again.
    """
    return key is not None and len(key) >= SECRET_KEY_LENGTH


def identify(owner: bytes, scope: bytes, route: str, key: str, request: str) -> IdempotencyKey:
    """Return the identity of a request; `scope`: what else the key is bound to, empty for nothing."""
    material = b"\x00".join([route.encode(), scope.hex().encode(), key.encode()])
    return IdempotencyKey(
        owner, hashlib.sha256(material).digest(), hashlib.sha256(request.encode()).digest()
    )


def claim(
    connection: Connection, key: IdempotencyKey | None, subject: bytes, now: datetime
) -> FirstRequest | None:
    """Claim a key for a new request about `subject`; return the earlier request if there is one.

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


def claim_any(
    connection: Connection,
    key: IdempotencyKey | None,
    before: Sequence[IdempotencyKey | None],
    subject: bytes,
    now: datetime,
) -> tuple[IdempotencyKey | None, FirstRequest | None]:
    """Claim like `claim`, unless the request was made under one of its previous keys.

    Return the key it was made under, and the first request.
    """
    for old in before:
        earlier = look_up(connection, old) if old else None
        if earlier:
            confirm(connection)
            return old, earlier
    return key, claim(connection, key, subject, now)


def look_up(connection: Connection, key: IdempotencyKey) -> FirstRequest | None:
    """Return the earlier request of a key; None when it was never made or was released."""
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
    return FirstRequest(row.subject, row.answer, row.created_at)


def answer(connection: Connection, key: IdempotencyKey, body: str) -> None:
    """Store the answer, in the transaction that makes it true."""
    connection.execute(update(IdempotencyRecord).where(*_here(key)).values(answer=body))


def release(connection: Connection, key: IdempotencyKey) -> None:
    """Delete the record of a request that left nothing behind, so that it can be retried."""
    connection.execute(delete(IdempotencyRecord).where(*_here(key)))


def purge_old(connection: Connection, now: datetime) -> int:
    """Delete a batch of records past their retention."""
    return purge(connection, IdempotencyRecord, IdempotencyRecord.created_at < now - RETENTION)


def _here(key: IdempotencyKey) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return IdempotencyRecord.owner == key.owner, IdempotencyRecord.key == key.key
