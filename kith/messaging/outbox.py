"""Own what is on its way out: sealing a payload for each device, sending it, and sending it again.

A message is on disk, encrypted, before it leaves, and stays until the server has answered: after a
lost answer or a crash the same ciphertext goes out under the same client id, which the server
stores once. Refuse to encrypt for keys that are not accepted.
"""

import contextlib
import uuid
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from kith.api.keys import KeyBundle
from kith.client import Kith
from kith.errors import KithProblem
from kith.messaging import envelopes, payloads
from kith.messaging.agreement import AgreementRefused
from kith.messaging.discreet import Discreet
from kith.messaging.history import Entry, History
from kith.messaging.payloads import Payload, Text, Transcript, raw_id
from kith.messaging.people import People
from kith.messaging.recipients import Own, Recipients
from kith.messaging.refusals import KeysChanged, KeysUnfit, NobodyReads, NotSent
from kith.messaging.sessions import Sessions
from kith.messaging.store import Store
from kith.models import Envelope, GroupVersion
from kith.problems import ClientIdReused, DevicesMismatched, GroupChanged, TooManyKeyFetches

LONGEST_WAIT = 23 * 3_600  # the server knows a client id for a day
MOST_TRIES = 5  # an account whose devices change more often than that meanwhile is a fault


class Sealed(msgspec.Struct, frozen=True):
    """Content for one device, and for which of its keys."""

    content: bytes
    registration_id: int | None


class Outgoing(Discreet, frozen=True):
    """A payload on its way to an account or group: what is sealed already, by device.

    put_at: Unix seconds. devices: whose each is; None before anybody has looked. entry_id: of the
    text that this is.
    """

    client_id: str
    to: str
    payload: bytes
    put_at: int
    entry_id: str | None = None
    is_group: bool = False
    urgent: bool = True
    group_version: int = 0
    devices: dict[str, str] | None = None
    sealed: dict[str, Sealed] = {}


class Outbox:
    """What this device has to send."""

    def __init__(
        self,
        kith: Kith,
        store: Store,
        people: People,
        sessions: Sessions,
        history: History,
        recipients: Recipients,
        own: Own,
        clock: Callable[[], float],
    ) -> None:
        """Send nothing yet."""
        self._kith = kith
        self._store = store
        self._people = people
        self._sessions = sessions
        self._history = history
        self._recipients = recipients
        self._own = own
        self._clock = clock

    def put_text(self, entry: Entry) -> str:
        """Take an own text to send, and keep it as one that waits; return its client id."""
        group = None if entry.group_id is None else raw_id(entry.group_id)
        text = Text(bytes.fromhex(entry.id), entry.text or "", entry.sent_at, group)
        with self._store.transaction():
            self._history.add(entry)
            return self._put(
                Outgoing(
                    _fresh_id(),
                    entry.conversation,
                    payloads.write(text),
                    int(self._clock()),
                    entry.id,
                    is_group=group is not None,
                )
            )

    def put(self, to: str, payload: Payload) -> str:
        """Take something else to send to an account, for which nobody is woken."""
        now = int(self._clock())
        return self._put(Outgoing(_fresh_id(), to, payloads.write(payload), now, urgent=False))

    def drop_old(self) -> None:
        """Give up what has waited for too long to be sent again safely."""
        for outgoing in list(self._store.all(Outgoing)):
            if self._clock() - outgoing.put_at >= LONGEST_WAIT:
                self._drop(outgoing.client_id)

    def waiting(self) -> list[str]:
        """Return the client ids of what was not accepted yet, in order."""
        return [outgoing.client_id for outgoing in self._store.all(Outgoing)]

    def before(self, client_id: str) -> list[str]:
        """Return the client ids of texts to the same account or group that wait for longer."""
        to, earlier = None, list[Outgoing]()
        for outgoing in self._store.all(Outgoing):
            if outgoing.client_id == client_id:
                to = outgoing.to
                break
            earlier.append(outgoing)
        return [one.client_id for one in earlier if one.to == to and one.entry_id is not None]

    def text(self, client_id: str) -> Entry | None:
        """Return the own text that waits under a client id, if it is one."""
        outgoing = self._store.get(Outgoing, client_id)
        if outgoing is None or outgoing.entry_id is None:
            return None
        return self._history.get(self._own.account_id, outgoing.entry_id)

    def deliver(self, client_id: str) -> None:
        """Send it to every device that there is, and forget it once it is accepted.

        Raise NotSent or KithProblem (nothing was sent, and it is dropped), or another KithError (it
        may have been sent, and is kept).
        """
        try:
            self._deliver(client_id)
        except NotSent:
            self._drop(client_id)
            raise
        except KithProblem as problem:
            if problem.status < 500:
                self._drop(client_id)
            raise

    def _deliver(self, client_id: str) -> None:
        for tries_left in reversed(range(MOST_TRIES)):
            outgoing = self._ready(client_id)
            if outgoing is None:
                return
            try:
                if outgoing.sealed:
                    self._send(outgoing)
            except (DevicesMismatched, GroupChanged) as refusal:
                if not tries_left:
                    raise
                self._adapt(outgoing, refusal)
            else:
                self._accepted(outgoing)
                return

    def _accepted(self, outgoing: Outgoing) -> None:
        with self._store.transaction():
            self._store.drop(Outgoing, outgoing.client_id)
            entry = self._history.get(self._own.account_id, outgoing.entry_id or "")
            if entry is None or self._history.advance(entry, "sent") is None:
                return
            if not outgoing.is_group and outgoing.to != self._own.account_id:
                # A group's message reaches the own other devices by itself.
                text = Text(bytes.fromhex(entry.id), entry.text or "", entry.sent_at)
                self.put(self._own.account_id, Transcript(raw_id(outgoing.to), text))

    def _drop(self, client_id: str) -> None:
        with self._store.transaction():
            outgoing = self._store.get(Outgoing, client_id)
            entry_id = "" if outgoing is None else outgoing.entry_id or ""
            entry = self._history.get(self._own.account_id, entry_id)
            if entry is not None:
                self._history.advance(entry, "failed")
            self._store.drop(Outgoing, client_id)

    def _send(self, outgoing: Outgoing) -> None:
        to = outgoing.to
        # With other envelopes it was stored by another command, between two tries of this one.
        with contextlib.suppress(ClientIdReused):
            self._kith.send_message(
                GroupVersion(to, outgoing.group_version) if outgoing.is_group else to,
                [
                    Envelope(device_id, sealed.content, sealed.registration_id)
                    for device_id, sealed in outgoing.sealed.items()
                ],
                client_id=outgoing.client_id,
                urgent=outgoing.urgent,
            )

    def _ready(self, client_id: str) -> Outgoing | None:
        """Return it sealed for every device; what is sealed already stays as it is."""
        outgoing = self._store.get(Outgoing, client_id)
        if outgoing is None:
            return None
        bundles: dict[str, KeyBundle] = {}
        if outgoing.devices is None:
            if outgoing.is_group:
                found = self._recipients.of_group(outgoing.to)
            else:
                found = self._recipients.of_account(outgoing.to)
            outgoing = replace(outgoing, devices=found.devices, group_version=found.group_version)
            bundles = found.bundles
        devices = outgoing.devices or {}
        self._recipients.refuse_new_keys(devices)
        for device_id, account_id in devices.items():
            if device_id in outgoing.sealed or device_id in bundles:
                continue
            if self._sessions.peer(account_id, device_id) is None:
                # Looked for each time, and only so often: there may still be none.
                keyless = device_id in self._people.of(account_id).keyless
                with contextlib.suppress(*((TooManyKeyFetches,) if keyless else ())):
                    bundles |= self._recipients.fetch(account_id, device_id)
        return self._seal(outgoing, bundles)

    def _seal(self, outgoing: Outgoing, bundles: dict[str, KeyBundle]) -> Outgoing | None:
        with self._store.transaction():
            current = self._store.get(Outgoing, outgoing.client_id)
            if current is None:
                return None
            devices = outgoing.devices or {}
            self._recipients.refuse_new_keys(devices)
            sealed = {one: what for one, what in current.sealed.items() if one in devices}
            for device_id, account_id in devices.items():
                if device_id not in sealed:
                    sealed[device_id] = self._sealed(
                        account_id, device_id, bundles.get(device_id), outgoing.payload
                    )
            if not self._may_be_alone(outgoing) and all(
                one.content == envelopes.NOTHING for one in sealed.values()
            ):
                raise NobodyReads("There is no device yet that messages could be encrypted for.")
            for account_id in set(devices.values()):
                self._people.settle(account_id)
            outgoing = replace(outgoing, sealed=sealed)
            self._put(outgoing)
            return outgoing

    def _sealed(
        self, account_id: str, device_id: str, bundle: KeyBundle | None, payload: bytes
    ) -> Sealed:
        target = bundle or self._sessions.peer(account_id, device_id)
        if target is None:
            return Sealed(envelopes.NOTHING, None)
        # Whatever was found out before: this is where a text is encrypted for somebody.
        if not self._people.accepts(account_id, device_id, target.identity_key):
            raise KeysChanged(account_id, [device_id])
        if bundle is None:
            content = self._sessions.encrypt(account_id, device_id, payload)
        else:
            try:
                content = self._sessions.begin(account_id, bundle, payload)
            except AgreementRefused as refusal:
                raise KeysUnfit(str(refusal)) from None
        return Sealed(content, target.registration_id)

    def _may_be_alone(self, outgoing: Outgoing) -> bool:
        return outgoing.is_group or outgoing.to == self._own.account_id

    def _adapt(self, outgoing: Outgoing, refusal: KithProblem) -> None:
        """Make it fit the devices that the server knows; what fits already is kept."""
        with self._store.transaction():
            gone = {*refusal.extra, *refusal.stale}
            sealed = {
                device_id: one
                for device_id, one in outgoing.sealed.items()
                if device_id not in gone
            }
            devices = None if outgoing.is_group else dict(outgoing.devices or {})
            if devices is not None:
                for device_id in gone:
                    self._sessions.retire(outgoing.to, device_id)
                self._people.gone(outgoing.to, refusal.extra)
                devices |= dict.fromkeys(refusal.missing, outgoing.to)
                devices = {one: to for one, to in devices.items() if one not in refusal.extra}
            self._put(replace(outgoing, devices=devices, sealed=sealed))

    def _put(self, outgoing: Outgoing) -> str:
        self._store.put(outgoing.client_id, outgoing)
        return outgoing.client_id


def _fresh_id() -> str:
    return str(uuid.uuid4())
