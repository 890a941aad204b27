"""which send an SMSC means by its id of a message."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "smpp_messages",
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=True),
        sa.Column("send_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_smpp_messages")),
        info={"shard_by": "message_id"},
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("smpp_messages", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_smpp_messages_created_at"), ["created_at"], unique=False
        )


def downgrade() -> None:
    """Take this migration back."""
    with op.batch_alter_table("smpp_messages", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_smpp_messages_created_at"))

    op.drop_table("smpp_messages")
