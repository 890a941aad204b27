"""The private keys of this device: create, store, publish, rotate and delete them.

The signed prekey and the last-resort key rotate every week; old ones are kept for 30 days, as long as a
message can wait. The first message that uses a one-time key deletes it. Private keys are on disk before
their public keys are published.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kith.api.keys import Prekey, SignedPrekey, keys_digest
from kith.api.verification import DeviceRecovery
from kith.client import Kith
from kith.messaging.formats import InitialMessage
from kith.messaging.key_agreement import (
    KEM_PREKEY_MARK,
    PREKEY_MARK,
    RECOVERY_MARK,
    KeySecrets,
    sign,
)
from kith.messaging.store import Record, Store

DAY = 86_400
ROTATION_SECONDS = 7 * DAY
OLD_KEY_RETENTION_SECONDS = 30 * DAY  # as long as a message that names them can wait
CHECK_INTERVAL_SECONDS = 3_600
ONE_TIME_KEY_COUNT = 100
MIN_ONE_TIME_KEYS = 20
MAX_KEY_ID = 2**31 - 1

_OWN = "own"


class Identity(Record, frozen=True):
    """The identity of this device; times in Unix seconds.

    published: whether the server has all of it. looked_at: when the server was last asked for its
    keys.
    """

    kind = "Identity"
    seed: bytes
    registration_id: int
    prekey_id: int = 0
    next_id: int = 1
    rotated_at: int = 0
    looked_at: int = 0
    published: bool = False

    @property
    def public_key(self) -> bytes:
        """The public identity key: Ed25519, 32 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()


class Secret(Record, frozen=True):
    """A private X25519 key, or the seed of an ML-KEM-1024 key, with the id of its public key."""

    key_id: int
    secret: bytes

    @property
    def public_key(self) -> bytes:
        """The public key."""
        return X25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()


class KemSecret(Secret, frozen=True):
    """The seed of a private ML-KEM-1024 key."""

    @property
    def public_key(self) -> bytes:
        """The public key."""
        return MLKEM1024PrivateKey.from_seed_bytes(self.secret).public_key().public_bytes_raw()


class SignedSecret(Secret, frozen=True):
    """The private key of a signed prekey."""

    kind = "SignedSecret"


class OneTimeSecret(Secret, frozen=True):
    """The private key of a one-time prekey."""

    kind = "OneTimeSecret"


class LastResortSecret(KemSecret, frozen=True):
    """The seed of a last-resort KEM prekey."""

    kind = "LastResortSecret"


class OneTimeKemSecret(KemSecret, frozen=True):
    """The seed of a one-time KEM prekey."""

    kind = "OneTimeKemSecret"


Kind = TypeVar("Kind", bound=Secret)


class KeyMissing(Exception):
    """An initial message names keys that this device no longer has."""


@dataclass(frozen=True)
class OwnKeys:
    """The private keys in a store, and their public keys at the server."""

    _store: Store
    _clock: Callable[[], float]

    def identity(self) -> Identity:
        """Return the identity of this device; the first call creates it."""
        with self._store.transaction():
            found = self._store.get(Identity, _OWN)
            if found is None:
                registration_id = 1 + secrets.randbelow(MAX_KEY_ID)
                self._save(Identity(secrets.token_bytes(32), registration_id))
                found = self._rotate()
            return found

    def recovery(self, device_id: str, verification_id: str) -> DeviceRecovery | None:
        """Return the proof that recovers this device at a registration; None if it never had keys."""
        identity = self._store.get(Identity, _OWN)
        if identity is None:
            return None
        signed = sign(identity.seed, RECOVERY_MARK, verification_id.encode("ascii"))
        return DeviceRecovery(device_id, signed)

    def maintain(self, kith: Kith, *, few: bool = False) -> None:
        """Publish the keys that the server should have and lacks; raise KithError.

        few: the server has announced that one-time keys run low. The server is asked once an hour.
        """
        identity = self.identity()
        if self._now() - identity.rotated_at >= ROTATION_SECONDS:
            identity = self._rotate()
        if identity.published and self._now() - identity.looked_at >= CHECK_INTERVAL_SECONDS:
            identity, few = self._check_server(kith)
        if few or not identity.published:
            self._publish(kith)

    def secrets_for(self, first: InitialMessage) -> KeySecrets:
        """Return the private keys that an initial message names; raise KeyMissing."""
        identity = self.identity()
        signed = self._store.get(SignedSecret, str(first.signed_prekey_id))
        if signed is None or first.recipient_registration_id != identity.registration_id:
            raise KeyMissing
        one_time = kem = None
        if first.one_time_prekey_id is not None:
            one_time = self._require(OneTimeSecret, first.one_time_prekey_id)
        if first.kem_prekey_id is not None:
            last_resort = self._store.get(LastResortSecret, str(first.kem_prekey_id))
            kem = last_resort or self._require(OneTimeKemSecret, first.kem_prekey_id)
        return KeySecrets(
            identity.seed,
            signed.secret,
            None if one_time is None else one_time.secret,
            None if kem is None else kem.secret,
        )

    def delete_used(self, first: InitialMessage) -> None:
        """Delete the one-time keys of an initial message that was decrypted.

        An undecryptable message must not delete keys: it may name keys that were handed out to
        others.
        """
        self._store.delete(OneTimeSecret, str(first.one_time_prekey_id))
        self._store.delete(OneTimeKemSecret, str(first.kem_prekey_id))

    def _check_server(self, kith: Kith) -> tuple[Identity, bool]:
        """Ask for the server's keys; return the identity and whether one-time keys run low."""
        counts = kith.count_keys()
        few = min(counts.one_time_prekeys, counts.one_time_kem_prekeys) < MIN_ONE_TIME_KEYS
        if kith.keys_are_as_published(
            keys_digest(
                self.identity().public_key,
                self._signed_prekey(PREKEY_MARK, self._current(SignedSecret)),
                self._signed_prekey(KEM_PREKEY_MARK, self._current(LastResortSecret)),
            )
        ):
            return self._change(looked_at=self._now()), few
        return self._change(published=False), few

    def _publish(self, kith: Kith) -> None:
        identity = self.identity()
        one_time, one_time_kem = self._fresh_one_time_keys()
        kith.upload_keys(
            registration_id=identity.registration_id,
            identity_key=identity.public_key,
            signed_prekey=self._signed_prekey(PREKEY_MARK, self._current(SignedSecret)),
            last_resort_kem_prekey=self._signed_prekey(
                KEM_PREKEY_MARK, self._current(LastResortSecret)
            ),
            one_time_prekeys=[Prekey(key.key_id, key.public_key) for key in one_time],
            one_time_kem_prekeys=[
                self._signed_prekey(KEM_PREKEY_MARK, key) for key in one_time_kem
            ],
        )
        with self._store.transaction():
            # Another command may have created newer keys, which are not published.
            if self.identity().prekey_id == identity.prekey_id:
                self._change(published=True, looked_at=self._now())

    def _rotate(self) -> Identity:
        """Create a new signed prekey and last-resort key; the old ones expire later."""
        with self._store.transaction():
            self._store.expire_all(SignedSecret, self._now() + OLD_KEY_RETENTION_SECONDS)
            self._store.expire_all(LastResortSecret, self._now() + OLD_KEY_RETENTION_SECONDS)
            (key_id,) = self._new_ids(1)
            self._store.put(str(key_id), SignedSecret(key_id, _x25519()))
            self._store.put(str(key_id), LastResortSecret(key_id, _mlkem()))
            return self._change(prekey_id=key_id, rotated_at=self._now(), published=False)

    def _fresh_one_time_keys(self) -> tuple[list[OneTimeSecret], list[OneTimeKemSecret]]:
        """Create one-time keys; the replaced ones are kept, as they may have been handed out."""
        with self._store.transaction():
            self._store.expire_all(OneTimeSecret, self._now() + OLD_KEY_RETENTION_SECONDS)
            self._store.expire_all(OneTimeKemSecret, self._now() + OLD_KEY_RETENTION_SECONDS)
            key_ids = self._new_ids(ONE_TIME_KEY_COUNT)
            keys = [OneTimeSecret(key_id, _x25519()) for key_id in key_ids]
            kem_keys = [OneTimeKemSecret(key_id, _mlkem()) for key_id in key_ids]
            for key in (*keys, *kem_keys):
                self._store.put(str(key.key_id), key)
            return keys, kem_keys

    def _current(self, model: type[Kind]) -> Kind:
        return self._require(model, self.identity().prekey_id)

    def _signed_prekey(self, mark: bytes, key: Secret) -> SignedPrekey:
        public_key = key.public_key
        signed = sign(self.identity().seed, mark, public_key)
        return SignedPrekey(key.key_id, public_key, signed)

    def _require(self, model: type[Kind], key_id: int) -> Kind:
        found = self._store.get(model, str(key_id))
        if found is None:
            raise KeyMissing
        return found

    def _new_ids(self, count: int) -> range:
        first = self.identity().next_id
        first = first if first + count <= MAX_KEY_ID else 1
        self._change(next_id=first + count)
        return range(first, first + count)

    def _change(self, **members: Any) -> Identity:
        with self._store.transaction():
            changed = msgspec.structs.replace(self.identity(), **members)
            self._save(changed)
            return changed

    def _save(self, identity: Identity) -> None:
        self._store.put(_OWN, identity)

    def _now(self) -> int:
        return int(self._clock())


def _x25519() -> bytes:
    return X25519PrivateKey.generate().private_bytes_raw()


def _mlkem() -> bytes:
    return MLKEM1024PrivateKey.generate().private_bytes_raw()
