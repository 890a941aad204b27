"""Usage of a mailbox by sender, counted only while the mailbox is more than half full.

One sender may fill half of a mailbox, so until half is full nobody needs counting. Then one statement counts
the usage of every sender. From then on the counts change with the mailbox, under the lock of its row, until
only a quarter is full. So a mailbox is counted at most once per quarter of it that arrives.
"""

from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from core.bulk import BulkStatement
from core.database import table
from messaging.mailbox.locked_mailbox import LockedMailbox, Mailboxes
from messaging.mailbox.models import Envelope, MailboxShare
from messaging.mailbox.quota import NO_USAGE, MailboxQuota, Usage

_SHARES, _ENVELOPES = table(MailboxShare).c, table(Envelope).c
_INSERT_COUNTED = insert(table(MailboxShare)).from_select(
    ["device_id", "from_account_id", "waiting", "waiting_bytes"],
    select(
        _ENVELOPES.device_id, _ENVELOPES.from_account_id, func.count(), func.sum(_ENVELOPES.size)
    )
    .where(_ENVELOPES.device_id == bindparam("device_id"))
    .group_by(_ENVELOPES.device_id, _ENVELOPES.from_account_id),
)
_SELECT_SHARE = select(_SHARES.waiting, _SHARES.waiting_bytes).where(
    _SHARES.device_id == bindparam("device_id"),
    _SHARES.from_account_id == bindparam("from_account_id"),
)
_UPSERT_SHARES = BulkStatement(
    "INSERT INTO mailbox_shares (device_id, from_account_id, waiting, waiting_bytes)"
    " SELECT r.device_id, r.from_account_id, r.waiting, r.waiting_bytes FROM {rows} AS r"
    # SQLite needs the condition to tell this from a join.
    " WHERE true ON CONFLICT (device_id, from_account_id) DO UPDATE"
    " SET waiting = mailbox_shares.waiting + excluded.waiting,"
    " waiting_bytes = mailbox_shares.waiting_bytes + excluded.waiting_bytes",
    takes=list(_SHARES),
)


def load(connection: Connection, mailbox: LockedMailbox, sender: UUID) -> None:
    """Load the usage of a sender into a locked mailbox; count all senders first if nobody did."""
    if not mailbox.has_shares:
        connection.execute(_INSERT_COUNTED, {"device_id": mailbox.device_id})
        mailbox.has_shares = True
        # What this transaction deletes is deleted already; what it adds is not stored yet.
        for delivery in mailbox.deliveries:
            mailbox.change_share(delivery.header.from_account_id, 1, len(delivery.content))
    row = connection.execute(
        _SELECT_SHARE, {"device_id": mailbox.device_id, "from_account_id": sender}
    ).one_or_none()
    mailbox.stored_shares[sender] = NO_USAGE if row is None else Usage(*row)


def write(connection: Connection, mailboxes: Mailboxes, quota: MailboxQuota) -> None:
    """Store changed usage of locked mailboxes; delete it where it is no longer needed."""
    counted = [mailbox for mailbox in mailboxes.values() if mailbox.has_shares]
    if not counted:
        return
    drained = [one for one in counted if quota.uncrowded.holds(one.waiting, one.waiting_bytes)]
    for mailbox in drained:
        mailbox.has_shares = False
    if drained:
        device_ids = [mailbox.device_id for mailbox in drained]
        connection.execute(delete(MailboxShare).where(MailboxShare.device_id.in_(device_ids)))
    changes = [
        (mailbox.device_id, sender, *change)
        for mailbox in counted
        if mailbox.has_shares
        for sender, change in mailbox.share_changes.items()
    ]
    _UPSERT_SHARES.run(connection, sorted(changes))
