"""One-time prekeys: each is handed out once, however many accounts fetch keys at the same time.

Handed-out keys are remembered: a client whose answer was lost uploads the same keys again, and a message for
a used key cannot be read. All functions run in the caller's transaction.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import (
    Connection,
    Executable,
    SmallInteger,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    true,
    tuple_,
    values,
)

from core.database import PURGE_BATCH, dialect_of, insert_into, table
from messaging.keys.device_keys import Prekey, of_devices
from messaging.keys.models import ConsumedPrekey, DeviceKeys, OneTimePrekey


class PrekeyKind(IntEnum):
    """The algorithm of a one-time prekey."""

    X25519 = 1
    ML_KEM = 2


class PrekeyCounts(NamedTuple):
    """How many one-time keys a device has left."""

    one_time_prekeys: int = 0
    one_time_kem_prekeys: int = 0


DIGEST_BYTES = 16
#: Three times as long as a message may wait for its device.
RETENTION = timedelta(days=90)

_PREKEYS, _CONSUMED = table(OneTimePrekey), table(ConsumedPrekey)
_INSERT_PREKEYS = insert(_PREKEYS)
_DELETE_PREKEYS = delete(_PREKEYS).where(*of_devices(_PREKEYS))
_DELETE_PREKEYS_OF_KIND = _DELETE_PREKEYS.where(_PREKEYS.c.kind == bindparam("prekey_kind"))
_DELETE_CONSUMED = delete(_CONSUMED).where(*of_devices(_CONSUMED))
_SELECT_CONSUMED = select(_CONSUMED.c.digest).where(
    *of_devices(_CONSUMED), _CONSUMED.c.digest.in_(bindparam("digests", expanding=True))
)
_SELECT_COUNTS = (
    select(
        _PREKEYS.c.device_id,
        func.count().filter(_PREKEYS.c.kind == PrekeyKind.X25519).label("x25519"),
        func.count().filter(_PREKEYS.c.kind == PrekeyKind.ML_KEM).label("ml_kem"),
    )
    .where(*of_devices(_PREKEYS))
    .group_by(_PREKEYS.c.device_id)
)


def replace(
    connection: Connection,
    account_id: UUID,
    device_id: UUID,
    kind: PrekeyKind,
    prekeys: Sequence[Prekey],
) -> None:
    """Replace the remaining keys of a kind by these, except keys that were handed out before.

    The caller holds the lock that fetches of keys wait for.
    """
    device = {"account_id": account_id, "device_ids": [device_id]}
    connection.execute(_DELETE_PREKEYS_OF_KIND, device | {"prekey_kind": kind})
    # By digest, so that a key which is there under two ids is handed out once.
    new = {_digest(prekey.public_key): prekey for prekey in reversed(prekeys)}
    for digest in connection.scalars(_SELECT_CONSUMED, device | {"digests": list(new)}):
        del new[digest]
    if new:
        connection.execute(
            _INSERT_PREKEYS,
            [
                {"account_id": account_id, "device_id": device_id, "kind": kind} | prekey._asdict()
                for prekey in new.values()
            ],
        )


def consume(
    connection: Connection, account_id: UUID, device_ids: Collection[UUID], now: datetime
) -> dict[tuple[UUID, int], Prekey]:
    """Delete the first key of each kind of each device, and return them by device and kind."""
    dialect = dialect_of(connection)
    consumed = connection.execute(
        _consume_first(dialect), {"account_id": account_id, "device_ids": list(device_ids)}
    ).all()
    if consumed:
        connection.execute(
            _insert_consumed(dialect),
            [
                {
                    "account_id": account_id,
                    "device_id": row.device_id,
                    "digest": _digest(row.public_key),
                    "taken_at": now,
                }
                for row in consumed
            ],
        )
    return {
        (row.device_id, row.kind): Prekey(row.key_id, row.public_key, row.signature)
        for row in consumed
    }


def _digest(public_key: bytes) -> bytes:
    return hashlib.sha256(public_key).digest()[:DIGEST_BYTES]


@cache
def _insert_consumed(dialect: str) -> Executable:
    return insert_into(dialect, ConsumedPrekey).on_conflict_do_nothing()


@cache
def _consume_first(dialect: str) -> Executable:
    """Build the DELETE that returns the first key of each kind.

    On PostgreSQL it skips keys that other transactions are about to delete, so it waits for nobody. Its
    choice is materialized: a choice that is evaluated twice deletes two keys.
    """
    prekeys = _PREKEYS.alias("prekeys")
    if dialect == "sqlite":
        first = (
            select(prekeys.c.device_id, prekeys.c.kind, func.min(prekeys.c.key_id))
            .where(*of_devices(prekeys))
            .group_by(prekeys.c.device_id, prekeys.c.kind)
        )
    else:
        keys = table(DeviceKeys)
        kinds = values(column("kind", SmallInteger), name="kinds").data(
            [(kind.value,) for kind in PrekeyKind]
        )
        lowest = (
            select(prekeys.c.device_id, prekeys.c.kind, prekeys.c.key_id)
            .where(
                prekeys.c.account_id == keys.c.account_id,
                prekeys.c.device_id == keys.c.device_id,
                prekeys.c.kind == kinds.c.kind,
            )
            .order_by(prekeys.c.key_id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .lateral("lowest")
        )
        chosen = (
            select(lowest)
            .select_from(keys.join(kinds, true()).join(lowest, true()))
            .where(*of_devices(keys))
            .cte("chosen")
            .prefix_with("MATERIALIZED")
        )
        first = select(chosen)
    return (
        delete(_PREKEYS)
        .where(
            _PREKEYS.c.account_id == bindparam("account_id"),
            tuple_(_PREKEYS.c.device_id, _PREKEYS.c.kind, _PREKEYS.c.key_id).in_(first),
        )
        .returning(*_PREKEYS.columns)
    )


def count(
    connection: Connection, account_id: UUID, device_ids: Collection[UUID]
) -> dict[UUID, PrekeyCounts]:
    """Return how many keys of each kind each device has left."""
    rows = connection.execute(
        _SELECT_COUNTS, {"account_id": account_id, "device_ids": list(device_ids)}
    )
    counts = {row.device_id: PrekeyCounts(row.x25519, row.ml_kem) for row in rows}
    return {device_id: counts.get(device_id, PrekeyCounts()) for device_id in device_ids}


def remove(connection: Connection, account_id: UUID, device_ids: Collection[UUID]) -> None:
    """Delete all one-time keys of devices."""
    connection.execute(_DELETE_PREKEYS, {"account_id": account_id, "device_ids": list(device_ids)})


def remove_consumed(connection: Connection, account_id: UUID, device_ids: Collection[UUID]) -> None:
    """Delete what is remembered of the handed-out keys of devices."""
    connection.execute(_DELETE_CONSUMED, {"account_id": account_id, "device_ids": list(device_ids)})


def purge_consumed(connection: Connection, now: datetime) -> int:
    """Delete a batch of what is remembered longer than `RETENTION`; return how many."""
    key = (_CONSUMED.c.account_id, _CONSUMED.c.device_id, _CONSUMED.c.digest)
    old = select(*key).where(_CONSUMED.c.taken_at < now - RETENTION).limit(PURGE_BATCH)
    return connection.execute(delete(_CONSUMED).where(tuple_(*key).in_(old))).rowcount
