"""Client ids: senders name their messages, so that a message sent again within a day is stored once."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, delete

from core.bulk import BulkInsert, BulkStatement, Row
from core.database import confirm, purge, table
from messaging.mailbox.jobs import SendJob
from messaging.mailbox.models import SentMessage
from messaging.mailbox.problems import ClientIdReused
from messaging.message_types import AcceptedMessage

RETENTION = timedelta(days=1)

_SENT = table(SentMessage).c
_SELECT_SENT = BulkStatement(
    "SELECT s.device_id, s.client_id, s.fingerprint, s.message_id, s.accepted_at"
    " FROM {rows} AS r CROSS JOIN sent_messages AS s"
    " WHERE s.device_id = r.device_id AND s.client_id = r.client_id",
    takes=[_SENT.device_id, _SENT.client_id],
    gives=list(_SENT),
)
_INSERT_SENT = BulkInsert(table(SentMessage))


class ConcurrentDuplicate(Exception):
    """Another process stored a message meanwhile that this batch refused; the batch must start over."""


class ClientIds:
    """The client ids of a batch of messages, and what their senders sent under them before."""

    def __init__(self, connection: Connection, jobs: Sequence[SendJob]) -> None:
        self._connection = connection
        self._earlier = {
            (device_id.int, client_id): (fingerprint, AcceptedMessage(message_id, accepted_at))
            for device_id, client_id, fingerprint, message_id, accepted_at in _select_sent(
                connection, jobs
            )
        }
        self._added: list[tuple[SendJob, AcceptedMessage]] = []
        if self._earlier:
            # Their first commit may not have been confirmed.
            confirm(connection)

    def earlier_answer(self, job: SendJob) -> AcceptedMessage | ClientIdReused | None:
        """Return the answer to a message whose client id was used; None if it was not."""
        earlier = self._earlier.get(job.key)
        if earlier is None:
            return None
        fingerprint, accepted = earlier
        return accepted if fingerprint == job.fingerprint else client_id_reused()

    def add(self, job: SendJob, accepted: AcceptedMessage) -> None:
        """Bind a client id to its message."""
        self._earlier[job.key] = (job.fingerprint, accepted)
        self._added.append((job, accepted))

    def check_refused(self, jobs: Sequence[SendJob]) -> None:
        """Look up refused messages again; raises ConcurrentDuplicate if one was stored since the first look.

        The repetition was counted too, and may be refused for no other reason.
        """
        if jobs and _select_sent(self._connection, jobs):
            raise ConcurrentDuplicate

    def write(self) -> None:
        """Store the added client ids.

        In the order of the keys: another process that stores the same ones waits, and then fails.
        """
        self._added.sort(key=lambda added: added[0].key)
        _INSERT_SENT.run(
            self._connection,
            [
                (job.submission.from_device_id, job.key[1], job.fingerprint, *accepted)
                for job, accepted in self._added
            ],
        )


def client_id_reused() -> ClientIdReused:
    """Return the refusal of another message under a used client id."""
    return ClientIdReused("Use a new client_id for each message.")


def _select_sent(connection: Connection, jobs: Sequence[SendJob]) -> list[Row]:
    keys = [(job.submission.from_device_id, job.submission.client_id) for job in jobs]
    return _SELECT_SENT.run(connection, keys)


def delete_sent(connection: Connection, device_ids: Collection[UUID]) -> None:
    """Delete the client ids of removed devices."""
    connection.execute(delete(SentMessage).where(SentMessage.device_id.in_(device_ids)))


def purge_sent(connection: Connection, now: datetime) -> int:
    """Delete a batch of client ids that are older than a day."""
    return purge(connection, SentMessage, SentMessage.accepted_at < now - RETENTION)
