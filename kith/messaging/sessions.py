"""Own the sessions with other devices: beginning, encrypting, decrypting, and which one is used.

With one device there may be several, as both ends may begin at once, or one after it has lost its
state: the one that a message came through last is written to. Those that are written to no more are
read for as long as a message may wait. Everything happens in a transaction of the store, so that no
key of a chain is ever used for two messages. Refuse to judge whose keys are good;
`kith.messaging.people` does.
"""

import hashlib
from collections.abc import Callable

import msgspec

from kith.api.keys import KeyBundle
from kith.messaging import agreement, envelopes
from kith.messaging.agreement import AgreementRefused, Party, SignedKey, TheirKeys
from kith.messaging.discreet import Discreet
from kith.messaging.envelopes import EnvelopeUnknown, EnvelopeUnreadable, First
from kith.messaging.keys import DAY, KEEP_OLD, ROTATE_AFTER, KeyMissing, OwnKeys
from kith.messaging.ratchet import NotDecrypted, Ratchet
from kith.messaging.store import Store

MOST_SESSIONS = 4  # with one device; and as many that are only read
READ_OLD = 30 * DAY  # as long as a message may wait
REMEMBER_HEARD = 31 * DAY


class PassedOver(NotDecrypted):
    """Report a message that says nothing new: it was decrypted before, or is of a kind that only
    other clients know.
    """


class Session(Discreet, frozen=True):
    """One session: `prefix` goes before each message until the other end has answered."""

    ratchet: bytes
    associated_data: bytes
    ephemeral_key: bytes
    prefix: bytes


class Peer(msgspec.Struct, frozen=True):
    """Another device, and the sessions with it under its present keys, the used one first."""

    identity_key: bytes
    registration_id: int
    sessions: tuple[Session, ...] = ()


class OldSession(Discreet, frozen=True):
    """A session that is only read, until a time in Unix seconds, and under which keys it is.

    Its device is gone or began anew, or messages came that no session could read.
    """

    identity_key: bytes
    registration_id: int
    session: Session
    until: int


class OldSessions(msgspec.Struct, frozen=True):
    """The sessions with a device that are only read, the newest first."""

    sessions: tuple[OldSession, ...] = ()


class Opened(Discreet, frozen=True):
    """What a message says, and under which keys its device said it; `old`: it may have others now."""

    plaintext: bytes
    identity_key: bytes
    registration_id: int
    old: bool = False


class Heard(msgspec.Struct, frozen=True):
    """Mark a message that was decrypted, for as long as its ciphertext may come again."""


class Begun(msgspec.Struct, frozen=True):
    """Mark a first message that was decrypted, so that it is never taken a second time."""


class Sessions:
    """The sessions of this device, one account and device after the other."""

    def __init__(
        self,
        store: Store,
        keys: OwnKeys,
        account_id: str,
        device_id: str,
        clock: Callable[[], float],
    ) -> None:
        """Take who this device is."""
        self._store = store
        self._keys = keys
        self._account_id = account_id
        self._device_id = device_id
        self._clock = clock

    def peer(self, account_id: str, device_id: str) -> Peer | None:
        """Return what is known of a device with which there is a session."""
        return self._store.get(Peer, _name(account_id, device_id))

    def retire(self, account_id: str, device_id: str) -> None:
        """Write in no session with a device any more; what is still on its way is read."""
        with self._store.transaction():
            peer = self.peer(account_id, device_id)
            if peer is None:
                return
            name = _name(account_id, device_id)
            self._store.drop(Peer, name)
            self._put_old(name, *(self._as_old(peer, one) for one in peer.sessions))

    def began_anew(self, account_id: str, device_id: str, registration_id: int | None) -> None:
        """Retire the sessions with a device unless they are under the keys it has now, if any."""
        peer = self.peer(account_id, device_id)
        if peer is not None and peer.registration_id != registration_id:
            self.retire(account_id, device_id)

    def begin(self, account_id: str, bundle: KeyBundle, plaintext: bytes) -> bytes:
        """Return the content of an envelope that begins a session; raise AgreementRefused."""
        with self._store.transaction():
            identity = self._keys.identity()
            them = Party(account_id, bundle.device_id, bundle.registration_id)
            agreed, opening = agreement.begin(identity.seed, self._own(), _keys_of(bundle), them)
            ratchet, message = Ratchet.begin(
                agreed.secret, bundle.signed_prekey.public_key, plaintext, agreed.associated_data
            )
            one_time, kem = bundle.one_time_prekey, bundle.kem_prekey
            prefix = envelopes.write(
                First(
                    identity.registration_id,
                    bundle.registration_id,
                    opening,
                    bundle.signed_prekey.key_id,
                    None if one_time is None else one_time.key_id,
                    None if kem is None else kem.key_id,
                    b"",
                )
            )
            session = Session(
                ratchet.state(), agreed.associated_data, opening.ephemeral_key, prefix
            )
            self._use(account_id, bundle.device_id, bundle.identity_key, them, session)
            return prefix + message

    def encrypt(self, account_id: str, device_id: str, plaintext: bytes) -> bytes:
        """Return the content of an envelope to a device with which there is a session."""
        with self._store.transaction():
            peer = self.peer(account_id, device_id)
            assert peer is not None
            session, *others = peer.sessions
            ratchet = Ratchet.restored(session.ratchet)
            message = ratchet.encrypt(plaintext, session.associated_data)
            kept = msgspec.structs.replace(session, ratchet=ratchet.state())
            self._save(account_id, device_id, peer, (kept, *others))
            return (session.prefix or envelopes.write(envelopes.Later(b""))) + message

    def decrypt(self, account_id: str, device_id: str, content: bytes) -> Opened | None:
        """Return what an envelope from a device says, None for one that says that this device had
        no keys yet; raise NotDecrypted or PassedOver, and then change nothing.
        """
        with self._store.transaction():
            try:
                envelope = envelopes.read(content)
                if envelope is None:
                    return None
                digest = hashlib.sha256(envelope.message).hexdigest()
                heard = f"{_name(account_id, device_id)}/{digest}"
                if self._store.get(Heard, heard) is not None:
                    raise PassedOver
                if isinstance(envelope, First) and not self._has(account_id, device_id, envelope):
                    opened = self._answer(account_id, device_id, envelope)
                else:
                    opened = self._continue(account_id, device_id, envelope.message)
            except EnvelopeUnknown:
                raise PassedOver from None
            except (EnvelopeUnreadable, KeyMissing, AgreementRefused):
                raise NotDecrypted from None
            self._store.put(heard, Heard(), expires_at=int(self._clock()) + REMEMBER_HEARD)
            return opened

    def _answer(self, account_id: str, device_id: str, first: First) -> Opened:
        identity_key, ephemeral_key = first.opening.identity_key, first.opening.ephemeral_key
        if self._store.get(Begun, ephemeral_key.hex()):
            raise NotDecrypted
        them = Party(account_id, device_id, first.sender_registration_id)
        secrets = self._keys.secrets_for(first)
        agreed = agreement.answer(secrets, self._own(), first.opening, them)
        ratchet, plaintext = Ratchet.answer(
            agreed.secret, secrets.signed_prekey, first.message, agreed.associated_data
        )
        self._keys.used(first)
        # As long as the signed prekey that it was made for.
        until = int(self._clock()) + ROTATE_AFTER + KEEP_OLD
        self._store.put(ephemeral_key.hex(), Begun(), expires_at=until)
        session = Session(ratchet.state(), agreed.associated_data, ephemeral_key, b"")
        old = self._is_of_older_keys(them)
        if old:
            replaced = Peer(identity_key, them.registration_id)
            self._put_old(_name(account_id, device_id), self._as_old(replaced, session))
        else:
            self._use(account_id, device_id, identity_key, them, session)
        return Opened(plaintext, identity_key, them.registration_id, old)

    def _is_of_older_keys(self, them: Party) -> bool:
        """Say whether a device has begun anew since it had these keys, as far as is known."""
        peer = self.peer(them.account_id, them.device_id)
        return (
            peer is not None
            and peer.registration_id != them.registration_id
            and any(
                one.registration_id == them.registration_id
                for one in self._old(_name(them.account_id, them.device_id))
            )
        )

    def _continue(self, account_id: str, device_id: str, message: bytes) -> Opened:
        peer = self.peer(account_id, device_id)
        for session in () if peer is None else peer.sessions:
            ratchet = Ratchet.restored(session.ratchet)
            try:
                plaintext = ratchet.decrypt(message, session.associated_data)
            except NotDecrypted:
                continue
            assert peer is not None
            kept = msgspec.structs.replace(session, ratchet=ratchet.state(), prefix=b"")
            others = (other for other in peer.sessions if other is not session)
            self._save(account_id, device_id, peer, (kept, *others))
            return Opened(plaintext, peer.identity_key, peer.registration_id)
        return self._read_old(_name(account_id, device_id), message)

    def _read_old(self, name: str, message: bytes) -> Opened:
        found = self._old(name)
        for place, old in enumerate(found):
            ratchet = Ratchet.restored(old.session.ratchet)
            try:
                plaintext = ratchet.decrypt(message, old.session.associated_data)
            except NotDecrypted:
                continue
            session = msgspec.structs.replace(old.session, ratchet=ratchet.state())
            kept = msgspec.structs.replace(old, session=session)
            self._save_old(name, (*found[:place], kept, *found[place + 1 :]))
            return Opened(plaintext, old.identity_key, old.registration_id, old=True)
        raise NotDecrypted

    def _has(self, account_id: str, device_id: str, first: First) -> bool:
        peer = self.peer(account_id, device_id)
        old = (one.session for one in self._old(_name(account_id, device_id)))
        return any(
            session.ephemeral_key == first.opening.ephemeral_key
            for session in (*(() if peer is None else peer.sessions), *old)
        )

    def _use(
        self, account_id: str, device_id: str, identity_key: bytes, them: Party, session: Session
    ) -> None:
        """Write through a new session from now on; those under older keys of the device are only
        read.
        """
        peer = self.peer(account_id, device_id)
        if peer is not None and (
            peer.identity_key != identity_key or peer.registration_id != them.registration_id
        ):
            self.retire(account_id, device_id)
            peer = None
        peer = peer or Peer(identity_key, them.registration_id)
        self._save(account_id, device_id, peer, (session, *peer.sessions)[:MOST_SESSIONS])

    def _as_old(self, peer: Peer, session: Session) -> OldSession:
        until = int(self._clock()) + READ_OLD
        return OldSession(peer.identity_key, peer.registration_id, session, until)

    def _old(self, name: str) -> tuple[OldSession, ...]:
        kept = self._store.get(OldSessions, name) or OldSessions()
        return tuple(one for one in kept.sessions if one.until > self._clock())

    def _put_old(self, name: str, *sessions: OldSession) -> None:
        self._save_old(name, (*sessions, *self._old(name))[:MOST_SESSIONS])

    def _save_old(self, name: str, sessions: tuple[OldSession, ...]) -> None:
        until = max((one.until for one in sessions), default=0)
        self._store.put(name, OldSessions(sessions), expires_at=until)

    def _save(
        self, account_id: str, device_id: str, peer: Peer, sessions: tuple[Session, ...]
    ) -> None:
        changed = msgspec.structs.replace(peer, sessions=sessions)
        self._store.put(_name(account_id, device_id), changed)

    def _own(self) -> Party:
        return Party(self._account_id, self._device_id, self._keys.identity().registration_id)


def _name(account_id: str, device_id: str) -> str:
    return f"{account_id}/{device_id}"


def _keys_of(bundle: KeyBundle) -> TheirKeys:
    signed, one_time, kem = bundle.signed_prekey, bundle.one_time_prekey, bundle.kem_prekey
    return TheirKeys(
        bundle.identity_key,
        SignedKey(signed.public_key, signed.signature),
        None if one_time is None else one_time.public_key,
        None if kem is None else SignedKey(kem.public_key, kem.signature),
    )
