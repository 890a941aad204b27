"""The published keys of a device, except its one-time keys, and what an upload changes in them.

All functions on the table run in the caller's transaction. `validation.py` decides what an upload must hold.
"""

import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from sqlalchemy import Connection, Executable, FromClause, bindparam, delete, select
from sqlalchemy.sql.elements import ColumnElement

from core.database import dialect_of, insert_into, table
from messaging.keys.models import DeviceKeys
from messaging.keys.schemas import KeysUpload


class Prekey(NamedTuple):
    """A public key that sessions start with; X25519 one-time keys are not signed."""

    key_id: int
    public_key: bytes
    signature: bytes | None = None


def of_devices(keys: FromClause) -> tuple[ColumnElement[bool], ...]:
    """Return the condition for devices of an account, with the parameters `account_id` and `device_ids`."""
    return (
        keys.c.account_id == bindparam("account_id"),
        keys.c.device_id.in_(bindparam("device_ids", expanding=True)),
    )


_KEYS = table(DeviceKeys)
_COLUMNS = tuple(_KEYS.columns.keys())
_SELECT_KEYS = select(*_KEYS.columns).where(*of_devices(_KEYS)).order_by(_KEYS.c.device_id)
_LOCK_KEYS_SHARED = _SELECT_KEYS.with_for_update(read=True)
_LOCK_KEYS = _SELECT_KEYS.with_only_columns(_KEYS.c.device_id).with_for_update()
_DELETE_KEYS = delete(_KEYS).where(*of_devices(_KEYS))


def find(connection: Connection, account_id: UUID, device_id: UUID) -> DeviceKeys | None:
    """Return the keys of a device; None if it has published none."""
    rows = read(connection, account_id, [device_id])
    return rows[0] if rows else None


def read(
    connection: Connection,
    account_id: UUID,
    device_ids: Collection[UUID],
    *,
    lock_shared: bool = False,
) -> list[DeviceKeys]:
    """Return the keys of devices.

    lock_shared: hold off uploads until the transaction ends, so that one-time keys which are fetched
    meanwhile belong to the same upload. Readers do not wait for each other.
    """
    parameters = {"account_id": account_id, "device_ids": list(device_ids)}
    statement = _LOCK_KEYS_SHARED if lock_shared else _SELECT_KEYS
    return cast(list[DeviceKeys], list(connection.execute(statement, parameters)))


def store(connection: Connection, row: Mapping[str, Any]) -> None:
    """Store the keys of a device in place of the previous ones."""
    connection.execute(_upsert_keys(dialect_of(connection)), row)


@cache
def _upsert_keys(dialect: str) -> Executable:
    row = insert_into(dialect, DeviceKeys)
    key = _KEYS.primary_key.columns.keys()
    return row.on_conflict_do_update(
        index_elements=key,
        set_={name: row.excluded[name] for name in _COLUMNS if name not in key},
    )


def remove(connection: Connection, account_id: UUID, device_ids: Collection[UUID]) -> None:
    """Delete the keys of devices."""
    parameters = {"account_id": account_id, "device_ids": list(device_ids)}
    # In the order in which fetches lock them, or each might wait for the other.
    connection.execute(_LOCK_KEYS, parameters)
    connection.execute(_DELETE_KEYS, parameters)


def replaces_all(upload: KeysUpload, stored: DeviceKeys | None) -> bool:
    """Return whether an upload replaces everything that the device has published but its identity key."""
    return stored is None or upload.registration_id not in (None, stored.registration_id)


def merge(upload: KeysUpload, stored: DeviceKeys | None) -> dict[str, Any]:
    """Return the row of a device after an upload."""
    row: dict[str, Any] = dict.fromkeys(_COLUMNS)
    if stored is not None and not replaces_all(upload, stored):
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
    """Return the KEM key that is handed out when no one-time KEM key is left."""
    if row.last_resort_id is None or row.last_resort is None:
        return None
    return Prekey(row.last_resort_id, row.last_resort, row.last_resort_signature)


def digest(row: DeviceKeys) -> bytes:
    """Return the SHA-256 digest of published keys but one-time keys, as docs/messaging.md defines it."""
    parts = [row.identity_key, row.signed_prekey_id.to_bytes(4), row.signed_prekey]
    if key := last_resort(row):
        parts += [key.key_id.to_bytes(4), key.public_key]
    return hashlib.sha256(b"".join(parts)).digest()


def signed_by_device(
    connection: Connection, account_id: UUID, device_id: UUID, message: bytes, signature: bytes
) -> bool:
    """Return whether the identity key of a device signed a message (Ed25519); False without keys."""
    keys = find(connection, account_id, device_id)
    if keys is None:
        return False
    try:
        VerifyKey(keys.identity_key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True
