"""Outgoing messages: encrypt a payload for each device, send it, and send it again.

A message is on disk, encrypted, before it is sent, and stays there until the server has answered. After a
lost answer or a crash the same ciphertext is sent under the same client id, which the server stores once.
Nothing is encrypted for keys that are not accepted.
"""

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from kith.api.keys import KeyBundle
from kith.client import Kith
from kith.errors import KithProblem
from kith.messaging import formats
from kith.messaging.accounts import KnownAccounts
from kith.messaging.formats import Payload, Text, Transcript, id_bytes
from kith.messaging.history import Entry, History
from kith.messaging.key_agreement import KeyAgreementFailed
from kith.messaging.recipients import (
    KeysChanged,
    KeysInvalid,
    NoRecipientDevices,
    NotSent,
    Recipients,
    ThisDevice,
)
from kith.messaging.sessions import Sessions
from kith.messaging.store import Record, Store
from kith.models import Envelope, GroupVersion
from kith.problems import ClientIdReused, DevicesMismatched, GroupChanged, TooManyKeyFetches

RETENTION_SECONDS = 23 * 3_600  # the server remembers a client id for a day
MAX_ATTEMPTS = 5  # devices of an account do not change more often while a text is sent


class EncryptedContent(msgspec.Struct, frozen=True):
    """Content for one device, and the registration id of the keys it is encrypted for."""

    content: bytes
    registration_id: int | None


class OutgoingMessage(Record, frozen=True):
    """A queued payload for an account or group, with its encrypted contents by device.

    put_at: Unix seconds. devices: the account of each; None before they are known. entry_id: of the
    text.
    """

    kind = "Outgoing"
    client_id: str
    to: str
    payload: bytes
    put_at: int
    entry_id: str | None = None
    is_group: bool = False
    urgent: bool = True
    group_version: int = 0
    devices: dict[str, str] | None = None
    sealed: dict[str, EncryptedContent] = {}


@dataclass(frozen=True)
class Outbox:
    """The queued messages of this device."""

    _kith: Kith
    _store: Store
    _accounts: KnownAccounts
    _sessions: Sessions
    _history: History
    _recipients: Recipients
    _own: ThisDevice
    _clock: Callable[[], float]

    def queue_text(self, entry: Entry) -> str:
        """Queue an own text and save it as waiting; return its client id."""
        group = None if entry.group_id is None else id_bytes(entry.group_id)
        text = Text(bytes.fromhex(entry.id), entry.text or "", entry.sent_at, group)
        with self._store.transaction():
            self._history.add(entry)
            return self._put(
                OutgoingMessage(
                    _new_client_id(),
                    entry.conversation,
                    formats.encode_payload(text),
                    int(self._clock()),
                    entry.id,
                    is_group=group is not None,
                )
            )

    def queue(self, to: str, payload: Payload) -> str:
        """Queue another payload for an account; it wakes no device."""
        now = int(self._clock())
        return self._put(
            OutgoingMessage(
                _new_client_id(), to, formats.encode_payload(payload), now, urgent=False
            )
        )

    def expire(self) -> None:
        """Drop messages that have waited too long to be repeated safely."""
        for outgoing in list(self._store.all(OutgoingMessage)):
            if self._clock() - outgoing.put_at >= RETENTION_SECONDS:
                self._mark_failed(outgoing.client_id)

    def queued(self) -> list[str]:
        """Return the client ids of the queue, in order."""
        return [outgoing.client_id for outgoing in self._store.all(OutgoingMessage)]

    def queued_before(self, client_id: str) -> list[str]:
        """Return the client ids of earlier texts to the same account or group."""
        to, earlier = None, list[OutgoingMessage]()
        for outgoing in self._store.all(OutgoingMessage):
            if outgoing.client_id == client_id:
                to = outgoing.to
                break
            earlier.append(outgoing)
        return [one.client_id for one in earlier if one.to == to and one.entry_id is not None]

    def text(self, client_id: str) -> Entry | None:
        """Return the own text of a client id, None for other payloads."""
        outgoing = self._store.get(OutgoingMessage, client_id)
        if outgoing is None or outgoing.entry_id is None:
            return None
        return self._history.get(self._own.account_id, outgoing.entry_id)

    def deliver(self, client_id: str) -> None:
        """Send a message to every device, and drop it once it is accepted.

        Raise NotSent or KithProblem (nothing was sent, and it is dropped), or another KithError (it
        may have been sent, and stays queued).
        """
        try:
            self._deliver(client_id)
        except NotSent:
            self._mark_failed(client_id)
            raise
        except KithProblem as problem:
            if problem.status < 500:
                self._mark_failed(client_id)
            raise

    def _deliver(self, client_id: str) -> None:
        for tries_left in reversed(range(MAX_ATTEMPTS)):
            outgoing = self._prepare_envelopes(client_id)
            if outgoing is None:
                return
            try:
                if outgoing.sealed:
                    self._send(outgoing)
            except (DevicesMismatched, GroupChanged) as refusal:
                if not tries_left:
                    raise
                self._adjust_devices(outgoing, refusal)
            else:
                self._mark_sent(outgoing)
                return

    def _mark_sent(self, outgoing: OutgoingMessage) -> None:
        with self._store.transaction():
            self._store.delete(OutgoingMessage, outgoing.client_id)
            entry = self._history.get(self._own.account_id, outgoing.entry_id or "")
            if entry is None or self._history.advance(entry, "sent") is None:
                return
            if not outgoing.is_group and outgoing.to != self._own.account_id:
                # A group message reaches this account's other devices by itself.
                text = Text(bytes.fromhex(entry.id), entry.text or "", entry.sent_at)
                self.queue(self._own.account_id, Transcript(id_bytes(outgoing.to), text))

    def _mark_failed(self, client_id: str) -> None:
        with self._store.transaction():
            outgoing = self._store.get(OutgoingMessage, client_id)
            entry_id = "" if outgoing is None else outgoing.entry_id or ""
            entry = self._history.get(self._own.account_id, entry_id)
            if entry is not None:
                self._history.advance(entry, "failed")
            self._store.delete(OutgoingMessage, client_id)

    def _send(self, outgoing: OutgoingMessage) -> None:
        to = outgoing.to
        # Another command may have stored it with other envelopes between two tries.
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

    def _prepare_envelopes(self, client_id: str) -> OutgoingMessage | None:
        """Return the message encrypted for every device; existing contents stay as they are."""
        outgoing = self._store.get(OutgoingMessage, client_id)
        if outgoing is None:
            return None
        bundles: dict[str, KeyBundle] = {}
        if outgoing.devices is None:
            if outgoing.is_group:
                found = self._recipients.for_group(outgoing.to)
            else:
                found = self._recipients.for_account(outgoing.to)
            outgoing = replace(outgoing, devices=found.devices, group_version=found.group_version)
            bundles = found.bundles
        devices = outgoing.devices or {}
        self._recipients.require_accepted_keys(devices)
        for device_id, account_id in devices.items():
            if device_id in outgoing.sealed or device_id in bundles:
                continue
            if self._sessions.peer(account_id, device_id) is None:
                # Fetched each time, within the limit: the device may still have no keys.
                keyless = device_id in self._accounts.get(account_id).keyless
                with contextlib.suppress(*((TooManyKeyFetches,) if keyless else ())):
                    bundles |= self._recipients.fetch(account_id, device_id)
        return self._encrypt_missing(outgoing, bundles)

    def _encrypt_missing(
        self, outgoing: OutgoingMessage, bundles: dict[str, KeyBundle]
    ) -> OutgoingMessage | None:
        with self._store.transaction():
            current = self._store.get(OutgoingMessage, outgoing.client_id)
            if current is None:
                return None
            devices = outgoing.devices or {}
            self._recipients.require_accepted_keys(devices)
            sealed = {one: what for one, what in current.sealed.items() if one in devices}
            for device_id, account_id in devices.items():
                if device_id not in sealed:
                    sealed[device_id] = self._encrypt_for(
                        account_id, device_id, bundles.get(device_id), outgoing.payload
                    )
            if not self._needs_no_recipient(outgoing) and all(
                one.content == formats.EMPTY_ENVELOPE for one in sealed.values()
            ):
                raise NoRecipientDevices(
                    "There is no device yet that messages could be encrypted for."
                )
            for account_id in set(devices.values()):
                self._accounts.pin_keys(account_id)
            outgoing = replace(outgoing, sealed=sealed)
            self._put(outgoing)
            return outgoing

    def _encrypt_for(
        self, account_id: str, device_id: str, bundle: KeyBundle | None, payload: bytes
    ) -> EncryptedContent:
        target = bundle or self._sessions.peer(account_id, device_id)
        if target is None:
            return EncryptedContent(formats.EMPTY_ENVELOPE, None)
        # Checked again here, where the text is encrypted.
        if not self._accounts.is_accepted(account_id, device_id, target.identity_key):
            raise KeysChanged(account_id, [device_id])
        if bundle is None:
            content = self._sessions.encrypt(account_id, device_id, payload)
        else:
            try:
                content = self._sessions.initiate(account_id, bundle, payload)
            except KeyAgreementFailed as refusal:
                raise KeysInvalid(str(refusal)) from None
        return EncryptedContent(content, target.registration_id)

    def _needs_no_recipient(self, outgoing: OutgoingMessage) -> bool:
        return outgoing.is_group or outgoing.to == self._own.account_id

    def _adjust_devices(self, outgoing: OutgoingMessage, refusal: KithProblem) -> None:
        """Adjust the message to the devices that the server knows; contents that fit are kept."""
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
                self._accounts.remove_devices(outgoing.to, refusal.extra)
                devices |= dict.fromkeys(refusal.missing, outgoing.to)
                devices = {one: to for one, to in devices.items() if one not in refusal.extra}
            self._put(replace(outgoing, devices=devices, sealed=sealed))

    def _put(self, outgoing: OutgoingMessage) -> str:
        self._store.put(outgoing.client_id, outgoing)
        return outgoing.client_id


def _new_client_id() -> str:
    return str(uuid.uuid4())
