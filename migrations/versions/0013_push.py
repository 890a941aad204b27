"""where devices are woken, and which message is the last that wakes them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration; what waits already wakes nobody."""
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.add_column(
            sa.Column("urgent_seq", sa.BigInteger(), nullable=False, server_default="0")
        )
    op.create_table(
        "push_subscriptions",
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("is_webhook", sa.Boolean(), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False),
        sa.Column("address", sa.String(length=2048), nullable=False),
        sa.Column("p256dh", sa.LargeBinary(length=65), nullable=True),
        sa.Column("auth", sa.LargeBinary(length=16), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("claimed", sa.Boolean(), nullable=False),
        sa.Column("woken", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("acked_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "is_webhook", name=op.f("pk_push_subscriptions")),
        info={"shard_by": "device_id"},
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_push_subscriptions_type_due_at"), "push_subscriptions", ["type", "due_at"]
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("push_subscriptions")
    with op.batch_alter_table("mailboxes") as batch_op:
        batch_op.drop_column("urgent_seq")
