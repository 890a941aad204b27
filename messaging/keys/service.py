"""Keys: devices publish them, so that others can start sessions while the device is offline."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core import rate_limits
from core.database import Database, find
from messaging.keys import device_keys, prekeys, validation
from messaging.keys.device_keys import Prekey
from messaging.keys.models import DeviceKeys
from messaging.keys.prekeys import PrekeyCounts, PrekeyKind
from messaging.keys.problems import KeysDiffer, TooManyKeyFetches, TooManyKeyUploads
from messaging.keys.schemas import KeysUpload
from messaging.limits import KEY_FETCHES, KEY_FETCHES_OF_ACCOUNT, KEY_UPLOADS
from messaging.mailbox.recipients import devices_of
from messaging.message_types import KeysLowNotice, Notice
from messaging.metrics import MessagingMetrics
from tokens.devices import Caller
from tokens.models import Device
from tokens.problems import AccountNotFound, DeviceNotFound, TokenInvalid

#: A device with fewer one-time keys of a kind is asked to upload new ones.
MIN_PREKEYS = 20


class PrekeyBundle(NamedTuple):
    """The keys that a session with one device starts with (X3DH section 3.2)."""

    device_id: UUID
    registration_id: int
    identity_key: bytes
    signed_prekey: Prekey
    one_time_prekey: Prekey | None
    kem_prekey: Prekey | None


class Identity(NamedTuple):
    """The identity key of a device."""

    device_id: UUID
    registration_id: int
    identity_key: bytes


@dataclass
class KeyService:
    """Publishes, hands out, counts and compares keys.

    send_notice: passes a notice to the listeners of a device.
    """

    database: Database
    clock: Callable[[], datetime]
    metrics: MessagingMetrics
    send_notice: Callable[[UUID, Notice], None]

    def upload(self, caller: Caller, upload: KeysUpload) -> None:
        """Publish keys of the calling device.

        Raises TooManyKeyUploads or InvalidFields; then nothing of the upload is stored.
        """
        with self.database.write(adds=True) as connection:
            allowed, status = rate_limits.consume(
                connection, KEY_UPLOADS, caller.device_id.bytes, self.clock()
            )
        if not allowed:
            raise TooManyKeyUploads("Nothing of this upload was stored.", rate_limit=status)
        mine = (Device.account_id == caller.account_id, Device.id == caller.device_id)
        # Validated outside the transaction, and again if another upload of the device came between.
        is_current = False
        while not is_current:
            with self.database.read() as connection:
                stored = device_keys.find(connection, caller.account_id, caller.device_id)
            validation.check(upload, stored)
            with self.database.write(adds=True) as connection:
                # Uploads of a device, and its removal, wait for each other here.
                if find(connection, Device, *mine, lock=True) is None:
                    raise TokenInvalid("The device was removed.")
                is_current = (
                    device_keys.find(connection, caller.account_id, caller.device_id) == stored
                )
                if is_current:
                    self._store(connection, caller, upload, stored)

    def _store(
        self,
        connection: Connection,
        caller: Caller,
        upload: KeysUpload,
        stored: DeviceKeys | None,
    ) -> None:
        row = device_keys.merge(upload, stored) | {
            "account_id": caller.account_id,
            "device_id": caller.device_id,
            "updated_at": self.clock(),
        }
        # Before the one-time keys: it waits for fetches of keys that belong to the stored row.
        device_keys.store(connection, row)
        if device_keys.replaces_all(upload, stored):
            prekeys.remove(connection, caller.account_id, [caller.device_id])
        for kind, uploaded in (
            (PrekeyKind.X25519, upload.one_time_prekeys),
            (PrekeyKind.ML_KEM, upload.one_time_kem_prekeys),
        ):
            if uploaded:
                new = [Prekey(**key.model_dump()) for key in uploaded]
                prekeys.replace(connection, caller.account_id, caller.device_id, kind, new)

    def fetch(
        self, caller: Caller, account_id: UUID, device_id: UUID | None
    ) -> tuple[list[PrekeyBundle], list[UUID]]:
        """Return a bundle for each device of an account but the calling one, or for one device.

        And the devices that have published no keys.

        Raises TooManyKeyFetches, AccountNotFound or DeviceNotFound; then nothing is counted or handed out.
        """
        with self.database.write() as connection:
            self._count_fetch(connection, caller, account_id)
            wanted = _wanted(connection, caller, account_id, device_id, self.clock())
            keys = device_keys.read(connection, account_id, wanted, lock_shared=True)
            device_ids = [row.device_id for row in keys]
            one_time = prekeys.consume(connection, account_id, device_ids, self.clock())
            left = prekeys.count(connection, account_id, device_ids)
        bundles = [self._bundle(row, one_time) for row in keys]
        for row in keys:
            for notice in _keys_low(row, left[row.device_id]):
                self.send_notice(row.device_id, notice)
        return bundles, sorted(set(wanted) - set(device_ids))

    def identities(self, account_id: UUID) -> tuple[list[Identity], list[UUID]]:
        """Return the identity keys of an account's devices, and its devices without keys.

        Raises AccountNotFound.
        """
        with self.database.read() as connection:
            devices = devices_of(connection, [account_id], self.clock())
            if not devices:
                raise AccountNotFound("It was deleted, or never was.")
            keys = device_keys.read(connection, account_id, [one.device_id for one in devices])
        without = {one.device_id for one in devices} - {row.device_id for row in keys}
        found = [Identity(row.device_id, row.registration_id, row.identity_key) for row in keys]
        return found, sorted(without)

    def _count_fetch(self, connection: Connection, caller: Caller, account_id: UUID) -> None:
        """Count a fetch; a refusal rolls the count back, because nothing is handed out."""
        pair = hashlib.sha256(caller.subject + account_id.bytes).digest()[:16]
        for limit, subject in ((KEY_FETCHES_OF_ACCOUNT, pair), (KEY_FETCHES, caller.subject)):
            allowed, status = rate_limits.consume(connection, limit, subject, self.clock())
            if not allowed:
                raise TooManyKeyFetches("No key was handed out.", rate_limit=status)

    def _bundle(self, row: DeviceKeys, one_time: Mapping[tuple[UUID, int], Prekey]) -> PrekeyBundle:
        prekey = one_time.get((row.device_id, PrekeyKind.X25519))
        kem_prekey = one_time.get((row.device_id, PrekeyKind.ML_KEM))
        last_resort = device_keys.last_resort(row)
        counted = self.metrics.prekeys.labels
        counted("x25519", "one_time" if prekey else "none").inc()
        counted(
            "ml_kem", "one_time" if kem_prekey else "last_resort" if last_resort else "none"
        ).inc()
        return PrekeyBundle(
            row.device_id,
            row.registration_id,
            row.identity_key,
            Prekey(row.signed_prekey_id, row.signed_prekey, row.signed_prekey_signature),
            prekey,
            kem_prekey or last_resort,
        )

    def count(self, caller: Caller) -> PrekeyCounts:
        """Return how many one-time keys the calling device has left."""
        with self.database.read() as connection:
            return _count(connection, caller)

    def check(self, caller: Caller, digest: bytes) -> None:
        """Raise KeysDiffer unless a digest is that of the published keys of the calling device."""
        with self.database.read() as connection:
            row = device_keys.find(connection, caller.account_id, caller.device_id)
        if row is None or not hmac.compare_digest(digest, device_keys.digest(row)):
            raise KeysDiffer("Upload the keys of this device again.")

    def pending_notices(self, caller: Caller) -> Sequence[Notice]:
        """Return the notices for a socket that opens: that few one-time keys are left."""
        with self.database.read() as connection:
            row = device_keys.find(connection, caller.account_id, caller.device_id)
            return _keys_low(row, _count(connection, caller)) if row else ()

    @staticmethod
    def devices_removed(
        connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Delete the keys of removed devices, in the transaction that removes them."""
        device_keys.remove(connection, account_id, device_ids)
        prekeys.remove(connection, account_id, device_ids)
        prekeys.remove_consumed(connection, account_id, device_ids)


def _count(connection: Connection, caller: Caller) -> PrekeyCounts:
    return prekeys.count(connection, caller.account_id, [caller.device_id])[caller.device_id]


def _wanted(
    connection: Connection,
    caller: Caller,
    account_id: UUID,
    device_id: UUID | None,
    now: datetime,
) -> list[UUID]:
    """Return the devices whose keys are requested; raises AccountNotFound or DeviceNotFound."""
    devices = sorted(device.device_id for device in devices_of(connection, [account_id], now))
    if not devices:
        raise AccountNotFound("It was deleted, or never was.")
    others = [device for device in devices if device != caller.device_id]
    if device_id is None:
        return others
    if device_id not in others:
        raise DeviceNotFound("It was removed, is the calling one, or never was.")
    return [device_id]


def _keys_low(row: DeviceKeys, left: PrekeyCounts) -> Sequence[Notice]:
    """Return the notice that a device should upload one-time keys; KEM keys count only if it uses them."""
    kem_low = row.last_resort_id is not None and left.one_time_kem_prekeys < MIN_PREKEYS
    if left.one_time_prekeys >= MIN_PREKEYS and not kem_low:
        return ()
    return (KeysLowNotice(*left, row.updated_at),)
