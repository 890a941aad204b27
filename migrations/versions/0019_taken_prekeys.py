"""which one-time prekeys were handed out, so that none is handed out again."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "taken_prekeys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "device_id", "digest", name=op.f("pk_taken_prekeys")),
        info={"shard_by": "account_id"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_taken_prekeys_taken_at"), "taken_prekeys", ["taken_at"])


def downgrade() -> None:
    """Take it back."""
    op.drop_table("taken_prekeys")
