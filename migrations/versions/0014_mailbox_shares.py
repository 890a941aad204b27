"""what of a mailbox strangers and single senders have filled, and what a device missed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration; requests that wait already are counted."""
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.add_column(sa.Column("requests", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(
            sa.Column("request_bytes", sa.BigInteger(), nullable=False, server_default="0")
        )
        batch_op.add_column(
            sa.Column("has_shares", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(
            sa.Column("missed_seq", sa.BigInteger(), nullable=False, server_default="0")
        )
        batch_op.add_column(sa.Column("missed_since", UtcDateTime(), nullable=True))
    op.execute(
        "UPDATE mailboxes SET requests = counted.requests, request_bytes = counted.request_bytes"
        " FROM (SELECT device_id, count(*) AS requests, sum(size) AS request_bytes FROM envelopes"
        " WHERE is_request GROUP BY device_id) AS counted"
        " WHERE mailboxes.device_id = counted.device_id"
    )
    op.create_table(
        "mailbox_shares",
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("from_account_id", sa.Uuid(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("waiting_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "from_account_id", name=op.f("pk_mailbox_shares")),
        info={"shard_by": "device_id"},
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("memberships") as batch_op:
        batch_op.add_column(sa.Column("invited_by", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE memberships SET invited_by = (SELECT invited_by FROM group_members AS member"
        " WHERE member.group_id = memberships.group_id AND member.account_id = memberships.account_id)"
        " WHERE state <> 1"
    )


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("memberships") as batch_op:
        batch_op.drop_column("invited_by")
    op.drop_table("mailbox_shares")
    with op.batch_alter_table("mailboxes") as batch_op:
        for name in ("missed_since", "missed_seq", "has_shares", "request_bytes", "requests"):
            batch_op.drop_column(name)
