"""Messages: accepted for each device of an account or not at all, fetched in order, acknowledged.

Owns the rules of sending and the long poll. Refuses envelopes that are not exactly for the
recipient's devices, because a device left out would silently miss the message.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, delete, select

from core.database import Database, insert, purge
from core.metrics import Metrics
from core.problems import InvalidFields
from core.settings import Settings
from messaging import mailbox
from messaging.letters import Accepted
from messaging.models import Envelope, SentMessage
from messaging.problems import (
    AcknowledgementAhead,
    ClientIdReused,
    DevicesMismatched,
    MailboxFull,
)
from messaging.schemas import OutgoingMessage
from messaging.wakeups import Waiter, Wakeups
from tokens.problems import AccountNotFound
from tokens.service import Caller, DeviceService

#: How long a client id names its message.
CLIENT_IDS_KEPT = timedelta(days=1)
#: Seconds after which sending to a full mailbox is worth another try.
FULL_RETRY = 300


class MessageService:
    """Sends, fetches and acknowledges, and keeps a mailbox for each device there is."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
        settings: Settings,
        wakeups: Wakeups,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._max_content_bytes = settings.max_content_bytes
        self._max_mailbox_messages = settings.max_mailbox_messages
        #: Who listens for which mailbox.
        self.wakeups = wakeups

    def send(self, caller: Caller, message: OutgoingMessage) -> Accepted:
        """Store an envelope for each device of an account; sent again it is answered the same.

        Raises InvalidFields, ClientIdReused, AccountNotFound, DevicesMismatched or MailboxFull;
        nothing is stored then, not even the client id.
        """
        contents = self._contents(message)
        now = self._clock()
        letter = mailbox.Letter(
            message_id=UUID(bytes=self._entropy(16), version=4),
            from_account_id=caller.account_id,
            from_device_id=caller.device_id,
            sent_at=now,
            expires_at=now + timedelta(seconds=message.expires_in),
        )
        fingerprint = _fingerprint(message, contents)
        with self._database.write() as connection:
            earlier = self._claim(connection, message.client_id, fingerprint, letter)
            if earlier is not None:
                return earlier
            self._deposit(connection, message.to, contents, letter)
        self._metrics.envelopes.labels("stored").inc(len(contents))
        self.wakeups.stored(dict.fromkeys(contents, ()))
        return Accepted(letter.message_id, now)

    def _contents(self, message: OutgoingMessage) -> dict[UUID, bytes]:
        """Decode the envelopes by device."""
        contents: dict[UUID, bytes] = {}
        for index, envelope in enumerate(message.envelopes):
            text = envelope.content
            content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if len(content) > self._max_content_bytes:
                most = f"at most {self._max_content_bytes} bytes before encoding"
                raise InvalidFields.at(f"/envelopes/{index}/content", most)
            if envelope.device_id in contents:
                raise InvalidFields.at(f"/envelopes/{index}/device_id", "a device has one envelope")
            contents[envelope.device_id] = content
        return contents

    def _claim(
        self, connection: Connection, client_id: str, fingerprint: bytes, letter: mailbox.Letter
    ) -> Accepted | None:
        """Claim a client id of the sending device; give what was accepted under it before."""
        device_id = letter.from_device_id
        claimed = connection.execute(
            insert(connection, SentMessage)
            .values(
                device_id=device_id,
                client_id=client_id,
                fingerprint=fingerprint,
                message_id=letter.message_id,
                accepted_at=letter.sent_at,
            )
            .on_conflict_do_nothing()
            .returning(SentMessage.client_id)
        ).one_or_none()
        if claimed is not None:
            return None
        earlier = connection.execute(
            select(SentMessage.fingerprint, SentMessage.message_id, SentMessage.accepted_at).where(
                SentMessage.device_id == device_id, SentMessage.client_id == client_id
            )
        ).one()
        if earlier.fingerprint != fingerprint:
            raise ClientIdReused("Take a new client_id for each message.")
        return Accepted(earlier.message_id, earlier.accepted_at)

    def _deposit(
        self,
        connection: Connection,
        to: UUID,
        contents: Mapping[UUID, bytes],
        letter: mailbox.Letter,
    ) -> None:
        """Store the envelopes if they are for exactly the recipient's devices; else raise."""
        devices = set(DeviceService.device_ids(connection, to))
        if not devices:
            raise AccountNotFound("It was deleted, or never was.")
        if to == letter.from_account_id:
            devices.discard(letter.from_device_id)
        if devices != set(contents):
            raise _mismatched(missing=devices - set(contents), extra=set(contents) - devices)
        unfit = mailbox.deposit(connection, to, contents, letter, self._max_mailbox_messages)
        if unfit is None:
            return
        if unfit.gone:
            raise _mismatched(missing=set(), extra=set(unfit.gone))
        raise MailboxFull(
            "A device of the recipient has not fetched its messages for long; nothing was stored.",
            retry_after=FULL_RETRY,
        )

    def fetch(self, caller: Caller, limit: int, wait: int) -> tuple[list[Envelope], bool]:
        """Give the oldest messages of the calling device, and whether more wait behind them.

        wait: seconds to wait while there are none, holding no transaction and no connection.
        """
        if not wait:
            return self._look(caller.device_id, limit)
        # Not the clock of the service: that one tells the time of day, which may be set.
        deadline = time.monotonic() + wait
        waiter = Waiter()
        with self.wakeups.listening(caller.device_id, waiter, caller.token_hash):
            while True:
                # Before the look, or what is stored between look and wait would go unheard.
                waiter.clear()
                found, more = self._look(caller.device_id, limit)
                left = deadline - time.monotonic()
                if found or left <= 0 or waiter.closed:
                    return found, more
                waiter.wait(left)

    def _look(self, device_id: UUID, limit: int) -> tuple[list[Envelope], bool]:
        with self._database.read() as connection:
            found = mailbox.read(connection, device_id, self._clock(), limit + 1)
        return found[:limit], len(found) > limit

    def acknowledge(self, caller: Caller, through: int) -> None:
        """Delete the calling device's messages up to a number; doing it again changes nothing.

        Raises AcknowledgementAhead when that number was never given out.
        """
        with self._database.write() as connection:
            deleted = mailbox.acknowledge(connection, caller.device_id, through)
        if deleted is None:
            raise AcknowledgementAhead("Acknowledge the seq of a message that was fetched.")
        self._metrics.envelopes.labels("acknowledged").inc(deleted)

    def device_added(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Make the mailbox of a new device, in the transaction that adds it."""
        mailbox.create(connection, account_id, device_id)

    def devices_removed(
        self, connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Delete all that waits for devices that are gone, and what is known of their sends."""
        mailbox.remove(connection, device_ids)
        connection.execute(delete(SentMessage).where(SentMessage.device_id.in_(device_ids)))

    def purge_envelopes(self, connection: Connection, now: datetime) -> int:
        """Delete a batch of expired envelopes."""
        expired = mailbox.expire(connection, now)
        self._metrics.envelopes.labels("expired").inc(expired)
        return expired

    @staticmethod
    def purge_sent_messages(connection: Connection, now: datetime) -> int:
        """Delete a batch of client ids whose day is over."""
        return purge(connection, SentMessage, SentMessage.accepted_at < now - CLIENT_IDS_KEPT)


def _fingerprint(message: OutgoingMessage, contents: Mapping[UUID, bytes]) -> bytes:
    """Hash what makes a message the same; the order of its envelopes does not."""
    digest = hashlib.sha256(message.to.bytes + message.expires_in.to_bytes(4))
    for device_id, content in sorted(contents.items()):
        digest.update(device_id.bytes + hashlib.sha256(content).digest())
    return digest.digest()


def _mismatched(missing: set[UUID], extra: set[UUID]) -> DevicesMismatched:
    return DevicesMismatched(
        "Nothing was stored; encrypt for exactly the devices of the account and send again.",
        missing=sorted(map(str, missing)),
        extra=sorted(map(str, extra)),
        stale=[],
    )
