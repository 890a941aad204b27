"""a registration lock guards its number after the account left that."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "former_locks",
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("pin_hash", sa.String(length=128), nullable=False),
        sa.Column("lapses_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number_digest", name=op.f("pk_former_locks")),
        info={"shard_by": "number_digest"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_former_locks_lapses_at"), "former_locks", ["lapses_at"])


def downgrade() -> None:
    """Take it back; numbers that their accounts left are not guarded any more, as before."""
    op.drop_table("former_locks")
