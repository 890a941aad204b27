"""Who has filled how much of a mailbox, counted only while it is more than half full.

A sender can fill half of a mailbox, so nobody needs counting before that much waits. When it does, one
statement counts what waits by sender; from then on the counts change with the mailbox, under the lock of
its row, until a quarter is left. So a mailbox is counted once for every quarter of it that came.
"""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from core.bulk import Bulk
from core.database import table
from messaging.mailbox.locked_mailbox import NO_USAGE, LockedMailbox, MailboxQuota, Usage
from messaging.mailbox.models import Envelope, MailboxShare

_SHARES, _ENVELOPES = table(MailboxShare).c, table(Envelope).c
_COUNT = insert(table(MailboxShare)).from_select(
    ["device_id", "from_account_id", "waiting", "waiting_bytes"],
    select(
        _ENVELOPES.device_id, _ENVELOPES.from_account_id, func.count(), func.sum(_ENVELOPES.size)
    )
    .where(_ENVELOPES.device_id == bindparam("device"))
    .group_by(_ENVELOPES.device_id, _ENVELOPES.from_account_id),
)
_SELECT = select(_SHARES.waiting, _SHARES.waiting_bytes).where(
    _SHARES.device_id == bindparam("device"), _SHARES.from_account_id == bindparam("sender")
)
_ADD = Bulk(
    "INSERT INTO mailbox_shares (device_id, from_account_id, waiting, waiting_bytes)"
    " SELECT r.device_id, r.from_account_id, r.waiting, r.waiting_bytes FROM {rows} AS r"
    # SQLite needs the condition to tell this from a join.
    " WHERE true ON CONFLICT (device_id, from_account_id) DO UPDATE"
    " SET waiting = mailbox_shares.waiting + excluded.waiting,"
    " waiting_bytes = mailbox_shares.waiting_bytes + excluded.waiting_bytes",
    takes=list(_SHARES),
)


def load(connection: Connection, device_id: UUID, box: LockedMailbox, sender: UUID) -> None:
    """Read the share of a sender in a locked mailbox, counting all shares first if they are not counted."""
    if not box.has_shares:
        connection.execute(_COUNT, {"device": device_id})
        box.has_shares = True
        # What this transaction deletes is deleted already; what it adds is not stored yet.
        for delivery in box.deliveries:
            change = box.share_changes.get(delivery.message.from_account_id, NO_USAGE)
            box.share_changes[delivery.message.from_account_id] = change.plus(
                1, len(delivery.content)
            )
    row = connection.execute(_SELECT, {"device": device_id, "sender": sender}).one_or_none()
    box.stored_shares[sender] = NO_USAGE if row is None else Usage(*row)


def write(
    connection: Connection, boxes: Mapping[UUID, LockedMailbox], bounds: MailboxQuota
) -> None:
    """Write what changed of the shares in locked mailboxes, and end those that are not needed any more."""
    counted = {device_id: box for device_id, box in boxes.items() if box.has_shares}
    if not counted:
        return
    drained = [
        device_id
        for device_id, box in counted.items()
        if bounds.uncrowded.holds(box.waiting, box.waiting_bytes)
    ]
    for device_id in drained:
        counted.pop(device_id).has_shares = False
    if drained:
        connection.execute(delete(MailboxShare).where(MailboxShare.device_id.in_(drained)))
    changes = [
        (device_id, sender, *change)
        for device_id, box in counted.items()
        for sender, change in box.share_changes.items()
    ]
    _ADD.run(connection, sorted(changes))
