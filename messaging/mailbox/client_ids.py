"""Client ids: the names senders give their messages, so that one sent again is not stored again.

Owns what devices sent within a day. Refuses another message under the same name.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, delete

from core.bulk import Bulk, BulkInsert, Row
from core.database import confirm, purge, table
from messaging.mailbox.jobs import SendJob
from messaging.mailbox.models import SentMessage
from messaging.mailbox.problems import ClientIdReused
from messaging.message_types import AcceptedMessage

#: How long a client id names its message.
RETENTION = timedelta(days=1)

_SENT = table(SentMessage).c
_FINDING = Bulk(
    "SELECT s.device_id, s.client_id, s.fingerprint, s.message_id, s.accepted_at"
    " FROM {rows} AS r CROSS JOIN sent_messages AS s"
    " WHERE s.device_id = r.device_id AND s.client_id = r.client_id",
    takes=[_SENT.device_id, _SENT.client_id],
    gives=list(_SENT),
)
_CLAIMING = BulkInsert(table(SentMessage))


class ConcurrentDuplicate(Exception):
    """Reports a refused message that another process has stored meanwhile: its batch is to begin anew."""


class ClientIds:
    """What the senders of a batch of messages sent before under the client ids that they use now."""

    def __init__(self, connection: Connection, jobs: Sequence[SendJob]) -> None:
        self._connection = connection
        self._earlier = {
            (device_id.int, client_id): (fingerprint, AcceptedMessage(message_id, accepted_at))
            for device_id, client_id, fingerprint, message_id, accepted_at in _find(
                connection, jobs
            )
        }
        self._claimed: list[tuple[SendJob, AcceptedMessage]] = []
        if self._earlier:
            # Their first commit may not have been confirmed.
            confirm(connection)

    def answer(self, job: SendJob) -> AcceptedMessage | ClientIdReused | None:
        """Give the answer to a message whose client id is taken; None when it is not."""
        earlier = self._earlier.get(job.name)
        if earlier is None:
            return None
        fingerprint, accepted = earlier
        if fingerprint != job.fingerprint:
            return reused()
        return accepted

    def claim(self, job: SendJob, accepted: AcceptedMessage) -> None:
        """Have a client id name its message."""
        self._earlier[job.name] = (job.fingerprint, accepted)
        self._claimed.append((job, accepted))

    def refuse(self, jobs: Sequence[SendJob]) -> None:
        """Look again for refused messages; raises Overtaken when one was stored after the first look.

        Its repeat was counted too, and may be refused only because of that.
        """
        if jobs and _find(self._connection, jobs):
            raise ConcurrentDuplicate

    def write(self) -> None:
        """Store what was claimed.

        In the order of the keys: whoever claims the same ones in another process waits, and then fails.
        """
        self._claimed.sort(key=lambda claimed: claimed[0].name)
        _CLAIMING.run(
            self._connection,
            [
                (job.outgoing.from_device_id, job.name[1], job.fingerprint, *accepted)
                for job, accepted in self._claimed
            ],
        )


def reused() -> ClientIdReused:
    """Refuse another message under a client id that is taken."""
    return ClientIdReused("Take a new client_id for each message.")


def _find(connection: Connection, jobs: Sequence[SendJob]) -> list[Row]:
    asked = [(job.outgoing.from_device_id, job.outgoing.client_id) for job in jobs]
    return _FINDING.run(connection, asked)


def forget(connection: Connection, device_ids: Collection[UUID]) -> None:
    """Delete what is known of the messages of devices that are gone."""
    connection.execute(delete(SentMessage).where(SentMessage.device_id.in_(device_ids)))


def purge_old(connection: Connection, now: datetime) -> int:
    """Delete a batch of client ids whose day is over."""
    return purge(connection, SentMessage, SentMessage.accepted_at < now - RETENTION)
