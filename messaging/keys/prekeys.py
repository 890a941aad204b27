"""One-time prekeys: each is handed out to one taker, however many ask at once, and never again.

The statements on `one_time_prekeys`, and on `taken_prekeys`, which remembers what was handed out: a client
whose answer was lost uploads the same keys again, and a message for a key that is used up cannot be read.
All of them run in the caller's transaction.
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
    """What a one-time prekey is for."""

    X25519 = 1
    ML_KEM = 2


class PrekeyCounts(NamedTuple):
    """How many one-time keys a device has left."""

    one_time_prekeys: int = 0
    one_time_kem_prekeys: int = 0


DIGEST_SIZE = 16
#: How long it is remembered that a key was handed out: three times as long as a message can wait for it.
RETENTION = timedelta(days=90)

_PREKEYS, _TAKEN = table(OneTimePrekey), table(ConsumedPrekey)
_OF_DEVICES = of_devices(_PREKEYS)
_ADDING = insert(_PREKEYS)
_REMOVING = delete(_PREKEYS).where(*_OF_DEVICES)
_EMPTYING = _REMOVING.where(_PREKEYS.c.kind == bindparam("of_kind"))
_FORGETTING = delete(_TAKEN).where(*of_devices(_TAKEN))
_SELECT_TAKEN = select(_TAKEN.c.digest).where(
    *of_devices(_TAKEN), _TAKEN.c.digest.in_(bindparam("digests", expanding=True))
)
_COUNTING = (
    select(
        _PREKEYS.c.device_id,
        func.count().filter(_PREKEYS.c.kind == PrekeyKind.X25519).label("x25519"),
        func.count().filter(_PREKEYS.c.kind == PrekeyKind.ML_KEM).label("ml_kem"),
    )
    .where(*_OF_DEVICES)
    .group_by(_PREKEYS.c.device_id)
)


def replace(
    connection: Connection,
    account_id: UUID,
    device_id: UUID,
    kind: PrekeyKind,
    prekeys: Sequence[Prekey],
) -> None:
    """Put these in the place of what is left of a kind, except those that were handed out before.

    The caller holds the lock that those who take keys wait for.
    """
    connection.execute(_EMPTYING, {"account": account_id, "devices": [device_id], "of_kind": kind})
    # By digest, so that a key which is there under two ids is handed out once.
    fresh = {_digest(prekey.public_key): prekey for prekey in reversed(prekeys)}
    taken = connection.scalars(
        _SELECT_TAKEN, {"account": account_id, "devices": [device_id], "digests": list(fresh)}
    )
    for digest in taken:
        del fresh[digest]
    if fresh:
        connection.execute(
            _ADDING,
            [
                {"account_id": account_id, "device_id": device_id, "kind": kind} | prekey._asdict()
                for prekey in fresh.values()
            ],
        )


def consume(
    connection: Connection, account_id: UUID, device_ids: Collection[UUID], now: datetime
) -> dict[tuple[UUID, int], Prekey]:
    """Delete the first key of each kind of each device, and give them by device and kind."""
    taken = connection.execute(
        _taking(dialect_of(connection)), {"account": account_id, "devices": list(device_ids)}
    ).all()
    if taken:
        connection.execute(
            _remembering(dialect_of(connection)),
            [
                {
                    "account_id": account_id,
                    "device_id": row.device_id,
                    "digest": _digest(row.public_key),
                    "taken_at": now,
                }
                for row in taken
            ],
        )
    return {
        (row.device_id, row.kind): Prekey(row.key_id, row.public_key, row.signature)
        for row in taken
    }


def _digest(public_key: bytes) -> bytes:
    return hashlib.sha256(public_key).digest()[:DIGEST_SIZE]


@cache
def _remembering(dialect: str) -> Executable:
    return insert_into(dialect, ConsumedPrekey).on_conflict_do_nothing()


@cache
def _taking(dialect: str) -> Executable:
    """Write the statement that takes keys.

    On PostgreSQL a taker passes over the keys that others are about to take, and so waits for nobody. Its
    choice is materialized, because a choice that is made twice takes two keys.
    """
    every = _PREKEYS.alias("every")
    if dialect == "sqlite":
        first = (
            select(every.c.device_id, every.c.kind, func.min(every.c.key_id))
            .where(*of_devices(every))
            .group_by(every.c.device_id, every.c.kind)
        )
    else:
        keys = table(DeviceKeys)
        kinds = values(column("kind", SmallInteger), name="kinds").data(
            [(kind.value,) for kind in PrekeyKind]
        )
        lowest = (
            select(every.c.device_id, every.c.kind, every.c.key_id)
            .where(
                every.c.account_id == keys.c.account_id,
                every.c.device_id == keys.c.device_id,
                every.c.kind == kinds.c.kind,
            )
            .order_by(every.c.key_id)
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
            _PREKEYS.c.account_id == bindparam("account"),
            tuple_(_PREKEYS.c.device_id, _PREKEYS.c.kind, _PREKEYS.c.key_id).in_(first),
        )
        .returning(*_PREKEYS.columns)
    )


def count(
    connection: Connection, account_id: UUID, device_ids: Collection[UUID]
) -> dict[UUID, PrekeyCounts]:
    """Count what is left of each kind, by device."""
    counted = connection.execute(_COUNTING, {"account": account_id, "devices": list(device_ids)})
    left = {row.device_id: PrekeyCounts(row.x25519, row.ml_kem) for row in counted}
    return {device_id: left.get(device_id, PrekeyCounts()) for device_id in device_ids}


def remove(connection: Connection, account_id: UUID, device_ids: Collection[UUID]) -> None:
    """Delete all that devices have left."""
    connection.execute(_REMOVING, {"account": account_id, "devices": list(device_ids)})


def forget(connection: Connection, account_id: UUID, device_ids: Collection[UUID]) -> None:
    """Forget what was handed out of devices that are gone."""
    connection.execute(_FORGETTING, {"account": account_id, "devices": list(device_ids)})


def purge_consumed(connection: Connection, now: datetime) -> int:
    """Forget a batch of what was handed out long ago; give their number."""
    old = (
        select(_TAKEN.c.account_id, _TAKEN.c.device_id, _TAKEN.c.digest)
        .where(_TAKEN.c.taken_at < now - RETENTION)
        .limit(PURGE_BATCH)
    )
    key = tuple_(_TAKEN.c.account_id, _TAKEN.c.device_id, _TAKEN.c.digest)
    return connection.execute(delete(_TAKEN).where(key.in_(old))).rowcount
