"""what of a mailbox came to groups."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration; what waits already is counted."""
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.add_column(
            sa.Column("group_messages", sa.Integer(), nullable=False, server_default="0")
        )
        batch_op.add_column(
            sa.Column("group_bytes", sa.BigInteger(), nullable=False, server_default="0")
        )
    op.execute(
        "UPDATE mailboxes SET group_messages = counted.messages, group_bytes = counted.size"
        " FROM (SELECT device_id, count(*) AS messages, sum(size) AS size FROM envelopes"
        " WHERE group_id IS NOT NULL GROUP BY device_id) AS counted"
        " WHERE mailboxes.device_id = counted.device_id"
    )


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.drop_column("group_bytes")
        batch_op.drop_column("group_messages")
