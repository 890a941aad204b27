"""one-time prekeys of devices."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "one_time_prekeys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=1568), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=True),
        sa.PrimaryKeyConstraint(
            "account_id", "device_id", "kind", "key_id", name=op.f("pk_one_time_prekeys")
        ),
        info={"shard_by": "account_id"},
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Take it back; devices upload new ones when they find that none are left."""
    op.drop_table("one_time_prekeys")
