"""The keys that a device has published for many sessions, and what an upload makes of them.

Owns the statements on `device_keys`. All of them run in the caller's transaction. Refuses nothing: what
an upload must hold is in `key_checks`.
"""

import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Connection, Executable, FromClause, bindparam, delete, select
from sqlalchemy.sql.elements import ColumnElement

from core.database import dialect_of, insert_into, table
from messaging.keys.models import DeviceKeys
from messaging.keys.schemas import KeysUpload


class Prekey(NamedTuple):
    """A public key that sessions begin with; an X25519 key for one session is not signed."""

    key_id: int
    public_key: bytes
    signature: bytes | None = None


def of_devices(keys: FromClause) -> tuple[ColumnElement[bool], ...]:
    """Narrow a statement to an account and some of its devices, which it is executed with."""
    return (
        keys.c.account_id == bindparam("account"),
        keys.c.device_id.in_(bindparam("devices", expanding=True)),
    )


_KEYS = table(DeviceKeys)
_COLUMNS = tuple(_KEYS.columns.keys())
_READING = select(*_KEYS.columns).where(*of_devices(_KEYS)).order_by(_KEYS.c.device_id)
_SHARING = _READING.with_for_update(read=True)
_LOCKING = _READING.with_only_columns(_KEYS.c.device_id).with_for_update()
_REMOVING = delete(_KEYS).where(*of_devices(_KEYS))


def find(connection: Connection, account_id: UUID, device_id: UUID) -> DeviceKeys | None:
    """Read what a device has published."""
    of = {"account": account_id, "devices": [device_id]}
    return cast(DeviceKeys | None, connection.execute(_READING, of).one_or_none())


def read(
    connection: Connection, account_id: UUID, device_ids: Collection[UUID]
) -> list[DeviceKeys]:
    """Read what devices have published, and hold off nobody."""
    of = {"account": account_id, "devices": list(device_ids)}
    return cast(list[DeviceKeys], list(connection.execute(_READING, of)))


def share(
    connection: Connection, account_id: UUID, device_ids: Collection[UUID]
) -> list[DeviceKeys]:
    """Read what devices have published, and hold off uploads to the end of the transaction.

    So the one-time keys that are taken meanwhile are of the same upload. Takers hold off nobody else.
    """
    of = {"account": account_id, "devices": list(device_ids)}
    return cast(list[DeviceKeys], list(connection.execute(_SHARING, of)))


def store(connection: Connection, row: Mapping[str, Any]) -> None:
    """Publish keys in the place of those before."""
    connection.execute(_storing(dialect_of(connection)), row)


@cache
def _storing(dialect: str) -> Executable:
    row = insert_into(dialect, DeviceKeys)
    key = _KEYS.primary_key.columns.keys()
    return row.on_conflict_do_update(
        index_elements=key,
        set_={name: row.excluded[name] for name in _COLUMNS if name not in key},
    )


def remove(connection: Connection, account_id: UUID, device_ids: Collection[UUID]) -> None:
    """Delete what devices have published."""
    of = {"account": account_id, "devices": list(device_ids)}
    # In the order in which takers lock them, or each might wait for the other.
    connection.execute(_LOCKING, of)
    connection.execute(_REMOVING, of)


def begins_anew(upload: KeysUpload, stored: DeviceKeys | None) -> bool:
    """Say whether an upload leaves nothing of what the device had published but its identity key."""
    return stored is None or upload.registration_id not in (None, stored.registration_id)


def merged(upload: KeysUpload, stored: DeviceKeys | None) -> dict[str, Any]:
    """Give the row of a device after an upload; what begins anew keeps the identity key only."""
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    if stored is not None and not begins_anew(upload, stored):
        row = {name: getattr(stored, name) for name in _COLUMNS}
    elif stored is not None:
        row["identity_key"] = stored.identity_key
    if upload.registration_id is not None:
        row["registration_id"] = upload.registration_id
    if upload.identity_key is not None:
        row["identity_key"] = upload.identity_key
    for name, prekey in (
        ("signed_prekey", upload.signed_prekey),
        ("last_resort", upload.last_resort_kem_prekey),
    ):
        if prekey is not None:
            row |= {
                f"{name}_id": prekey.key_id,
                name: prekey.public_key,
                f"{name}_signature": prekey.signature,
            }
    return row


def last_resort(row: DeviceKeys) -> Prekey | None:
    """Give the KEM key that is handed out when none for one session is left."""
    if row.last_resort_id is None or row.last_resort is None:
        return None
    return Prekey(row.last_resort_id, row.last_resort, row.last_resort_signature)


def digest(row: DeviceKeys) -> bytes:
    """Hash what is handed out besides one-time keys: SHA-256, as docs/messaging.md describes it."""
    parts = [row.identity_key, row.signed_prekey_id.to_bytes(4), row.signed_prekey]
    if key := last_resort(row):
        parts += [key.key_id.to_bytes(4), key.public_key]
    return hashlib.sha256(b"".join(parts)).digest()
