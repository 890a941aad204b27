"""One-time prekeys: each is handed out to one taker, however many ask at once, and then gone.

Owns the statements on `one_time_prekeys`. All of them run in the caller's transaction. Refuses nothing;
where no key is left it gives none.
"""

from collections.abc import Collection, Sequence
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

from core.database import dialect_of, table
from messaging.models import DeviceKeys, OneTimePrekey
from messaging.published import Prekey, of_devices


class Kind(IntEnum):
    """What a one-time prekey is for."""

    X25519 = 1
    ML_KEM = 2


class Left(NamedTuple):
    """How many one-time keys a device has left."""

    one_time_prekeys: int = 0
    one_time_kem_prekeys: int = 0


_PREKEYS = table(OneTimePrekey)
_OF_DEVICES = of_devices(_PREKEYS)
_ADDING = insert(_PREKEYS)
_REMOVING = delete(_PREKEYS).where(*_OF_DEVICES)
_EMPTYING = _REMOVING.where(_PREKEYS.c.kind == bindparam("of_kind"))
_COUNTING = (
    select(
        _PREKEYS.c.device_id,
        func.count().filter(_PREKEYS.c.kind == Kind.X25519).label("x25519"),
        func.count().filter(_PREKEYS.c.kind == Kind.ML_KEM).label("ml_kem"),
    )
    .where(*_OF_DEVICES)
    .group_by(_PREKEYS.c.device_id)
)


def replace(
    connection: Connection,
    account_id: UUID,
    device_id: UUID,
    kind: Kind,
    prekeys: Sequence[Prekey],
) -> None:
    """Put these in the place of what is left of a kind."""
    connection.execute(_EMPTYING, {"account": account_id, "devices": [device_id], "of_kind": kind})
    connection.execute(
        _ADDING,
        [
            {"account_id": account_id, "device_id": device_id, "kind": kind} | prekey._asdict()
            for prekey in prekeys
        ],
    )


def take(
    connection: Connection, account_id: UUID, device_ids: Collection[UUID]
) -> dict[tuple[UUID, int], Prekey]:
    """Delete the first key of each kind of each device, and give them by device and kind."""
    taken = connection.execute(
        _taking(dialect_of(connection)), {"account": account_id, "devices": list(device_ids)}
    )
    return {
        (row.device_id, row.kind): Prekey(row.key_id, row.public_key, row.signature)
        for row in taken
    }


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
            [(kind.value,) for kind in Kind]
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
) -> dict[UUID, Left]:
    """Count what is left of each kind, by device."""
    counted = connection.execute(_COUNTING, {"account": account_id, "devices": list(device_ids)})
    left = {row.device_id: Left(row.x25519, row.ml_kem) for row in counted}
    return {device_id: left.get(device_id, Left()) for device_id in device_ids}


def remove(connection: Connection, account_id: UUID, device_ids: Collection[UUID]) -> None:
    """Delete all that devices have left."""
    connection.execute(_REMOVING, {"account": account_id, "devices": list(device_ids)})
