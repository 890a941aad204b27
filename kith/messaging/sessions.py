"""Sessions with other devices: create, encrypt, decrypt, and choose one.

Two devices may have several sessions, as both may start one at once, or one may lose its state; the last
one that a message was read with is used to write. Unused sessions are kept to read for as long as a message
may wait. Everything happens in a transaction of the store, so that no chain key is used for two messages.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from kith.api.keys import KeyBundle
from kith.messaging import formats, key_agreement
from kith.messaging.formats import EnvelopeUnknown, EnvelopeUnreadable, InitialMessage
from kith.messaging.key_agreement import KeyAgreementFailed, Party
from kith.messaging.keys import (
    DAY,
    OLD_KEY_RETENTION_SECONDS,
    ROTATION_SECONDS,
    KeyMissing,
    OwnKeys,
)
from kith.messaging.ratchet import NotDecrypted, Ratchet
from kith.messaging.store import Opaque, Record, Store

MAX_SESSIONS = 4  # with one device; and as many read-only ones
OLD_SESSION_RETENTION_SECONDS = 30 * DAY  # as long as a message can wait
MARKER_RETENTION_SECONDS = 31 * DAY


class MessageIgnored(NotDecrypted):
    """A message has nothing new: it was decrypted before, or has a kind of a newer client."""


class RatchetSession(Opaque, frozen=True):
    """A session; `prefix` precedes each message until the other device has answered."""

    ratchet: bytes
    associated_data: bytes
    ephemeral_key: bytes
    prefix: bytes


class Peer(Record, frozen=True):
    """Another device, and the sessions with its current keys, the active one first."""

    kind = "Peer"
    identity_key: bytes
    registration_id: int
    sessions: tuple[RatchetSession, ...] = ()


class OldSession(Opaque, frozen=True):
    """A read-only session, its keys, and its expiry in Unix seconds.

    The device is gone or has new keys, or sent messages that no session could read.
    """

    identity_key: bytes
    registration_id: int
    session: RatchetSession
    until: int


class OldSessions(Record, frozen=True):
    """The read-only sessions with a device, the newest first."""

    kind = "OldSessions"
    sessions: tuple[OldSession, ...] = ()


class DecryptedMessage(Opaque, frozen=True):
    """The content of a message, and the keys of its sender; `old`: the sender may have others now."""

    plaintext: bytes
    identity_key: bytes
    registration_id: int
    old: bool = False


class DecryptedMarker(Record, frozen=True):
    """A decrypted message, for as long as its ciphertext may be delivered again."""

    kind = "Heard"


class UsedInitialMessage(Record, frozen=True):
    """A decrypted initial message, so that it is never used a second time."""

    kind = "Begun"


@dataclass(frozen=True)
class Sessions:
    """The sessions of this device."""

    _store: Store
    _keys: OwnKeys
    _account_id: str
    _device_id: str
    _clock: Callable[[], float]

    def peer(self, account_id: str, device_id: str) -> Peer | None:
        """Return a device with which there is a session."""
        return self._store.get(Peer, _name(account_id, device_id))

    def retire(self, account_id: str, device_id: str) -> None:
        """Stop writing in the sessions with a device; messages on their way can still be read."""
        with self._store.transaction():
            name = _name(account_id, device_id)
            peer = self._store.get(Peer, name)
            if peer is None:
                return
            self._store.delete(Peer, name)
            self._add_old(name, *(self._retired(peer, one) for one in peer.sessions))

    def retire_outdated(self, account_id: str, device_id: str, registration_id: int | None) -> None:
        """Retire the sessions with a device unless they have its current registration id."""
        peer = self.peer(account_id, device_id)
        if peer is not None and peer.registration_id != registration_id:
            self.retire(account_id, device_id)

    def initiate(self, account_id: str, bundle: KeyBundle, plaintext: bytes) -> bytes:
        """Return the content of an envelope that starts a session; raise KeyAgreementFailed."""
        with self._store.transaction():
            identity = self._keys.identity()
            them = Party(account_id, bundle.device_id, bundle.registration_id)
            shared, exchange = key_agreement.initiate(identity.seed, self._own(), bundle, them)
            ratchet, message = Ratchet.initiate(
                shared.secret, bundle.signed_prekey.public_key, plaintext, shared.associated_data
            )
            one_time, kem = bundle.one_time_prekey, bundle.kem_prekey
            prefix = formats.encode_envelope(
                InitialMessage(
                    identity.registration_id,
                    bundle.registration_id,
                    exchange,
                    bundle.signed_prekey.key_id,
                    None if one_time is None else one_time.key_id,
                    None if kem is None else kem.key_id,
                    b"",
                )
            )
            session = RatchetSession(
                ratchet.state(), shared.associated_data, exchange.ephemeral_key, prefix
            )
            self._activate(them, bundle.identity_key, session)
            return prefix + message

    def encrypt(self, account_id: str, device_id: str, plaintext: bytes) -> bytes:
        """Return the content of an envelope to a device with which there is a session."""
        with self._store.transaction():
            peer = self.peer(account_id, device_id)
            assert peer is not None
            session, *others = peer.sessions
            ratchet = Ratchet.from_state(session.ratchet)
            message = ratchet.encrypt(plaintext, session.associated_data)
            kept = msgspec.structs.replace(session, ratchet=ratchet.state())
            self._save(_name(account_id, device_id), peer, (kept, *others))
            prefix = session.prefix or formats.encode_envelope(formats.SessionMessage(b""))
            return prefix + message

    def decrypt(self, account_id: str, device_id: str, content: bytes) -> DecryptedMessage | None:
        """Return the message in an envelope, None for one that says that this device had no keys
        yet; raise NotDecrypted or MessageIgnored, with nothing changed.
        """
        name = _name(account_id, device_id)
        with self._store.transaction():
            try:
                envelope = formats.decode_envelope(content)
                if envelope is None:
                    return None
                marker = f"{name}/{hashlib.sha256(envelope.message).hexdigest()}"
                if self._store.get(DecryptedMarker, marker) is not None:
                    raise MessageIgnored
                if isinstance(envelope, InitialMessage) and not self._knows(name, envelope):
                    them = Party(account_id, device_id, envelope.sender_registration_id)
                    decrypted = self._accept(them, envelope)
                else:
                    decrypted = self._decrypt_in_session(name, envelope.message)
            except EnvelopeUnknown:
                raise MessageIgnored from None
            except (EnvelopeUnreadable, KeyMissing, KeyAgreementFailed):
                raise NotDecrypted from None
            until = int(self._clock()) + MARKER_RETENTION_SECONDS
            self._store.put(marker, DecryptedMarker(), expires_at=until)
            return decrypted

    def _accept(self, them: Party, first: InitialMessage) -> DecryptedMessage:
        """Start the session of an initial message."""
        identity_key, ephemeral_key = first.exchange.identity_key, first.exchange.ephemeral_key
        if self._store.get(UsedInitialMessage, ephemeral_key.hex()):
            raise NotDecrypted
        secrets = self._keys.secrets_for(first)
        shared = key_agreement.respond(secrets, self._own(), first.exchange, them)
        ratchet, plaintext = Ratchet.respond(
            shared.secret, secrets.signed_prekey, first.message, shared.associated_data
        )
        self._keys.delete_used(first)
        # As long as the signed prekey that it was made for.
        until = int(self._clock()) + ROTATION_SECONDS + OLD_KEY_RETENTION_SECONDS
        self._store.put(ephemeral_key.hex(), UsedInitialMessage(), expires_at=until)
        session = RatchetSession(ratchet.state(), shared.associated_data, ephemeral_key, b"")
        old = self._has_older_keys(them)
        if old:
            replaced = Peer(identity_key, them.registration_id)
            name = _name(them.account_id, them.device_id)
            self._add_old(name, self._retired(replaced, session))
        else:
            self._activate(them, identity_key, session)
        return DecryptedMessage(plaintext, identity_key, them.registration_id, old)

    def _has_older_keys(self, them: Party) -> bool:
        """Return whether these keys of a device were replaced, as far as is known."""
        peer = self.peer(them.account_id, them.device_id)
        old = self._old_sessions(_name(them.account_id, them.device_id))
        return (
            peer is not None
            and peer.registration_id != them.registration_id
            and any(one.registration_id == them.registration_id for one in old)
        )

    def _decrypt_in_session(self, name: str, message: bytes) -> DecryptedMessage:
        peer = self._store.get(Peer, name)
        for session in peer.sessions if peer is not None else ():
            if (read := _decrypt(session, message)) and peer is not None:
                others = (other for other in peer.sessions if other is not session)
                self._save(name, peer, (read[1], *others))
                return DecryptedMessage(read[0], peer.identity_key, peer.registration_id)
        old_sessions = self._old_sessions(name)
        for place, old in enumerate(old_sessions):
            if read := _decrypt(old.session, message):
                kept = msgspec.structs.replace(old, session=read[1])
                self._save_old(name, (*old_sessions[:place], kept, *old_sessions[place + 1 :]))
                return DecryptedMessage(read[0], old.identity_key, old.registration_id, old=True)
        raise NotDecrypted

    def _knows(self, name: str, first: InitialMessage) -> bool:
        peer = self._store.get(Peer, name)
        sessions = [one.session for one in self._old_sessions(name)]
        return any(
            session.ephemeral_key == first.exchange.ephemeral_key
            for session in (*(() if peer is None else peer.sessions), *sessions)
        )

    def _activate(self, them: Party, identity_key: bytes, session: RatchetSession) -> None:
        """Write in a new session from now on; those with older keys of the device become read-only."""
        peer = self.peer(them.account_id, them.device_id)
        if peer is not None and (
            peer.identity_key != identity_key or peer.registration_id != them.registration_id
        ):
            self.retire(them.account_id, them.device_id)
            peer = None
        peer = peer or Peer(identity_key, them.registration_id)
        name = _name(them.account_id, them.device_id)
        self._save(name, peer, (session, *peer.sessions)[:MAX_SESSIONS])

    def _retired(self, peer: Peer, session: RatchetSession) -> OldSession:
        until = int(self._clock()) + OLD_SESSION_RETENTION_SECONDS
        return OldSession(peer.identity_key, peer.registration_id, session, until)

    def _old_sessions(self, name: str) -> tuple[OldSession, ...]:
        kept = self._store.get(OldSessions, name) or OldSessions()
        return tuple(one for one in kept.sessions if one.until > self._clock())

    def _add_old(self, name: str, *sessions: OldSession) -> None:
        self._save_old(name, (*sessions, *self._old_sessions(name))[:MAX_SESSIONS])

    def _save_old(self, name: str, sessions: tuple[OldSession, ...]) -> None:
        until = max((one.until for one in sessions), default=0)
        self._store.put(name, OldSessions(sessions), expires_at=until)

    def _save(self, name: str, peer: Peer, sessions: tuple[RatchetSession, ...]) -> None:
        self._store.put(name, msgspec.structs.replace(peer, sessions=sessions))

    def _own(self) -> Party:
        return Party(self._account_id, self._device_id, self._keys.identity().registration_id)


def _name(account_id: str, device_id: str) -> str:
    return f"{account_id}/{device_id}"


def _decrypt(session: RatchetSession, message: bytes) -> tuple[bytes, RatchetSession] | None:
    """Return the content of a message and the session after it, None for another session's."""
    ratchet = Ratchet.from_state(session.ratchet)
    try:
        plaintext = ratchet.decrypt(message, session.associated_data)
    except NotDecrypted:
        return None
    return plaintext, msgspec.structs.replace(session, ratchet=ratchet.state(), prefix=b"")
