"""Keys: what a device publishes, so that others can begin sessions with it while it is offline.

Owns who may change, take and compare keys, and when a device should upload new ones. Refuses keys that
are not sound (`key_checks`), and taking so many that nobody else would find any.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core import rate_limits
from core.database import Database, find
from core.metrics import Metrics
from messaging.keys import device_keys as published
from messaging.keys import prekeys
from messaging.keys import validation as key_checks
from messaging.keys.device_keys import Prekey
from messaging.keys.models import DeviceKeys
from messaging.keys.prekeys import PrekeyCounts, PrekeyKind
from messaging.keys.problems import KeysDiffer, TooManyKeyFetches, TooManyKeyUploads
from messaging.keys.schemas import KeysUpload
from messaging.limits import KEY_FETCHES, KEY_FETCHES_OF_ACCOUNT, KEY_UPLOADS
from messaging.mailbox.recipients import devices_of
from messaging.message_types import KeysLowNotice, Notice
from tokens.devices import Caller
from tokens.models import Device
from tokens.problems import AccountNotFound, DeviceNotFound, TokenInvalid

#: With fewer one-time keys of a kind than this a device is asked for new ones.
LOW_PREKEY_COUNT = 20


class PrekeyBundle(NamedTuple):
    """What a session with one device begins with."""

    device_id: UUID
    registration_id: int
    identity_key: bytes
    signed_prekey: Prekey
    one_time_prekey: Prekey | None
    kem_prekey: Prekey | None


class FetchedBundles(NamedTuple):
    """Bundles of an account's devices, and the devices that have published nothing."""

    devices: list[PrekeyBundle]
    without_keys: list[UUID]


class Identity(NamedTuple):
    """The key that a device is told from others by."""

    device_id: UUID
    registration_id: int
    identity_key: bytes


class Identities(NamedTuple):
    """The identity keys of an account's devices, and the devices that have published nothing."""

    devices: list[Identity]
    without_keys: list[UUID]


class KeyService:
    """Publishes, hands out, counts and compares keys."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        metrics: Metrics,
        notice: Callable[[UUID, Notice], None],
    ) -> None:
        """Take a callable that passes a hint on to whoever listens for a device."""
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._notice = notice

    def upload(self, caller: Caller, upload: KeysUpload) -> None:
        """Publish keys of the calling device.

        Raises TooManyKeyUploads or InvalidFields; nothing of the upload is kept then.
        """
        with self._database.write(adds=True) as connection:
            allowed, status = rate_limits.consume(
                connection, KEY_UPLOADS, caller.device_id.bytes, self._clock()
            )
        if not allowed:
            raise TooManyKeyUploads("Nothing of this one was kept.", rate_limit=status)
        mine = (Device.account_id == caller.account_id, Device.id == caller.device_id)
        # Judged outside the transaction, and again if another upload of the device came between.
        judged = False
        while not judged:
            with self._database.read() as connection:
                stored = published.find(connection, caller.account_id, caller.device_id)
            key_checks.check(upload, stored)
            with self._database.write(adds=True) as connection:
                # Uploads of a device queue here, and its removal with them.
                if find(connection, Device, *mine, lock=True) is None:
                    raise TokenInvalid("The device was removed.")
                judged = published.find(connection, caller.account_id, caller.device_id) == stored
                if judged:
                    self._publish(connection, caller, upload, stored)

    def _publish(
        self,
        connection: Connection,
        caller: Caller,
        upload: KeysUpload,
        stored: DeviceKeys | None,
    ) -> None:
        row = published.merged(upload, stored) | {
            "account_id": caller.account_id,
            "device_id": caller.device_id,
            "updated_at": self._clock(),
        }
        # Before the one-time keys: it waits for those who are taking keys that belong to this row.
        published.store(connection, row)
        if published.begins_anew(upload, stored):
            prekeys.remove(connection, caller.account_id, [caller.device_id])
        for kind, uploaded in (
            (PrekeyKind.X25519, upload.one_time_prekeys),
            (PrekeyKind.ML_KEM, upload.one_time_kem_prekeys),
        ):
            if uploaded:
                fresh = [Prekey(**key.model_dump()) for key in uploaded]
                prekeys.replace(connection, caller.account_id, caller.device_id, kind, fresh)

    def take(self, caller: Caller, account_id: UUID, device_id: UUID | None) -> FetchedBundles:
        """Take a bundle for each device of an account, or for one; of the own, for each other one.

        Raises TooManyKeyFetches, AccountNotFound or DeviceNotFound; nothing is charged or taken then.
        """
        with self._database.write() as connection:
            self._charge(connection, caller, account_id)
            wanted = _wanted(connection, caller, account_id, device_id, self._clock())
            # Shared, so that takers do not wait for each other, and one-time keys are of the same upload.
            keys = published.share(connection, account_id, wanted)
            device_ids = [row.device_id for row in keys]
            one_time = prekeys.consume(connection, account_id, device_ids, self._clock())
            left = prekeys.count(connection, account_id, device_ids)
        bundles = [self._bundle(row, one_time) for row in keys]
        for row in keys:
            for notice in _low(row, left[row.device_id]):
                self._notice(row.device_id, notice)
        return FetchedBundles(bundles, sorted(set(wanted) - set(device_ids)))

    def identities(self, account_id: UUID) -> Identities:
        """Give the identity keys of an account's devices; no one-time key is handed out for it.

        Raises AccountNotFound.
        """
        with self._database.read() as connection:
            devices = devices_of(connection, [account_id], self._clock())
            if not devices:
                raise AccountNotFound("It was deleted, or never was.")
            keys = published.read(connection, account_id, [one.device_id for one in devices])
        without = {one.device_id for one in devices} - {row.device_id for row in keys}
        found = [Identity(row.device_id, row.registration_id, row.identity_key) for row in keys]
        return Identities(found, sorted(without))

    def _charge(self, connection: Connection, caller: Caller, account_id: UUID) -> None:
        """Count a taking; what is refused rolls back, because then nothing is handed out."""
        pair = hashlib.sha256(caller.subject + account_id.bytes).digest()[:16]
        for limit, subject in (
            (KEY_FETCHES_OF_ACCOUNT, pair),
            (KEY_FETCHES, caller.subject),
        ):
            allowed, status = rate_limits.consume(connection, limit, subject, self._clock())
            if not allowed:
                raise TooManyKeyFetches("No key was handed out.", rate_limit=status)

    def _bundle(self, row: DeviceKeys, one_time: Mapping[tuple[UUID, int], Prekey]) -> PrekeyBundle:
        prekey = one_time.get((row.device_id, PrekeyKind.X25519))
        kem_prekey = one_time.get((row.device_id, PrekeyKind.ML_KEM))
        last_resort = published.last_resort(row)
        counted = self._metrics.prekeys.labels
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
        """Count what the calling device has left."""
        with self._database.read() as connection:
            return _left(connection, caller)

    def check(self, caller: Caller, digest: bytes) -> None:
        """Raise KeysDiffer unless a digest is that of what is handed out of the calling device."""
        with self._database.read() as connection:
            row = published.find(connection, caller.account_id, caller.device_id)
        if row is None or not hmac.compare_digest(digest, published.digest(row)):
            raise KeysDiffer("Upload the keys of this device again.")

    def pending_notices(self, caller: Caller) -> Sequence[Notice]:
        """Give what a socket that opens should hear: that few one-time keys are left."""
        with self._database.read() as connection:
            row = published.find(connection, caller.account_id, caller.device_id)
            return _low(row, _left(connection, caller)) if row else ()

    @staticmethod
    def devices_removed(
        connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Delete the keys of devices that are gone, in the transaction that removes them."""
        published.remove(connection, account_id, device_ids)
        prekeys.remove(connection, account_id, device_ids)
        prekeys.forget(connection, account_id, device_ids)


def _left(connection: Connection, caller: Caller) -> PrekeyCounts:
    return prekeys.count(connection, caller.account_id, [caller.device_id])[caller.device_id]


def _wanted(
    connection: Connection,
    caller: Caller,
    account_id: UUID,
    device_id: UUID | None,
    now: datetime,
) -> list[UUID]:
    """Give the devices whose keys are asked for; raise AccountNotFound or DeviceNotFound."""
    devices = sorted(device.device_id for device in devices_of(connection, [account_id], now))
    if not devices:
        raise AccountNotFound("It was deleted, or never was.")
    others = [device for device in devices if device != caller.device_id]
    if device_id is None:
        return others
    if device_id not in others:
        raise DeviceNotFound("It was removed, is the calling one, or never was.")
    return [device_id]


def _low(row: DeviceKeys, left: PrekeyCounts) -> Sequence[KeysLowNotice]:
    """Give the hint that a device should upload one-time keys; of KEM keys, if it has any at all."""
    few_kem = row.last_resort_id is not None and left.one_time_kem_prekeys < LOW_PREKEY_COUNT
    return (
        (KeysLowNotice(*left, row.updated_at),)
        if left.one_time_prekeys < LOW_PREKEY_COUNT or few_kem
        else ()
    )
